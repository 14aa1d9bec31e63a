"""The page that compares with other tools rests on tests that exist, row by row."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "explanation" / "compared-with-other-tools.md").read_text("utf8")
TESTS = ast.parse((ROOT / "tests" / "airflow" / "test_peers.py").read_text("utf8"))


def test_the_page_names_every_test_of_its_rows_and_no_other() -> None:
    tests = {node.name for node in TESTS.body if isinstance(node, ast.FunctionDef)}
    named = re.findall(r"^\| [\d, ]+ \| `(\w+)` \|$", PAGE, re.M)
    assert sorted(named) == sorted(name for name in tests if name.startswith("test_"))


def test_every_row_has_a_test() -> None:
    rows = re.findall(r"^\| (\d+) \| [^`|]+ \|", PAGE, re.M)
    tested = re.findall(r"^\| ([\d, ]+) \| `", PAGE, re.M)
    assert len(rows) == 19
    assert {number for cell in tested for number in cell.split(", ")} == set(rows)
