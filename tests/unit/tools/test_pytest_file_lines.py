from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]

GOOD = "def test_one(): pass\ndef test_two(): pass\n"
MIXED = """
import pytest

@pytest.fixture
def broken():
    raise RuntimeError

def test_passes(): pass
def test_fails(): assert False
def test_breaks(broken): pass
@pytest.mark.skip
def test_skipped(): pass
@pytest.mark.xfail
def test_expected(): assert False
"""


def run_pytest(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-q", "--no-header", "-p", "tools.pytest_file_lines"]
    return subprocess.run(
        [*command, "-p", "no:cacheprovider", "--rootdir", str(folder), str(folder)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_each_file_gets_one_line_with_its_counts_and_the_summary_stays(tmp_path: Path) -> None:
    (tmp_path / "test_good.py").write_text(GOOD)
    (tmp_path / "test_mixed.py").write_text(MIXED)

    done = run_pytest(tmp_path)

    assert re.search(r"^test_good\.py +2 passed +[\d.]+ s$", done.stdout, re.MULTILINE)
    counts = "1 passed, 1 failed, 1 error, 1 skipped, 1 xfailed"
    assert re.search(rf"^test_mixed\.py +{counts} +[\d.]+ s$", done.stdout, re.MULTILINE)
    assert "1 failed, 3 passed, 1 skipped, 1 xfailed, 1 error" in done.stdout
    assert done.returncode == 1


def test_a_folder_without_tests_fails_visibly(tmp_path: Path) -> None:
    done = run_pytest(tmp_path)

    assert done.returncode == 5
    assert "no tests ran" in done.stdout
