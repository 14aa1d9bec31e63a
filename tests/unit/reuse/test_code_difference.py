"""Diffs of code are what ``diff -u`` would print, bounded, and never guess."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_mlpipe.reuse.code_difference import (
    LARGEST_FILE,
    LONGEST_DIFF,
    MOST_LINES,
    CodeDifference,
    code_difference,
)

PATCH = shutil.which("patch")

lines = st.lists(st.sampled_from(["a", "b", "c", "", "-", "+ x", "\\"]), max_size=8)
texts = st.builds(lambda found, end: "\n".join(found) + end, lines, st.sampled_from(["", "\n"]))


def test_a_changed_line_is_shown_with_its_surroundings() -> None:
    found = code_difference("words.py", b"a\nold\nz\n", b"a\nnew\nz\n")
    assert found == CodeDifference("--- a/words.py\n+++ b/words.py\n@@ -1,3 +1,3 @@\n a\n-old\n+new\n z\n")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (None, b"x\n", "--- /dev/null\n+++ b/f\n@@ -0,0 +1 @@\n+x\n"),
        (b"x\n", None, "--- a/f\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n"),
        (b"x", b"x\n", "--- a/f\n+++ b/f\n@@ -1 +1 @@\n-x\n\\ No newline at end of file\n+x\n"),
        (b"x\r\n", b"x\n", "--- a/f\n+++ b/f\n@@ -1 +1 @@\n-x\r\n+x\n"),
    ],
)
def test_files_that_come_and_go_and_ends_of_lines_are_told(
    old: bytes | None, new: bytes | None, expected: str
) -> None:
    assert code_difference("f", old, new) == CodeDifference(expected)


@pytest.mark.skipif(PATCH is None, reason="no patch(1) here")
@settings(max_examples=25)
@given(old=texts, new=texts)
def test_applying_the_diff_to_the_old_text_gives_the_new_one(
    tmp_path_factory: pytest.TempPathFactory, old: str, new: str
) -> None:
    found = code_difference("f", old.encode(), new.encode())
    if old == new:
        assert found.diff == ""
        return
    target: Path = tmp_path_factory.mktemp("patch") / "f"
    target.write_text(old)
    subprocess.run([str(PATCH), "-s", str(target)], input=found.diff, text=True, check=True)
    assert (target.read_text() if target.exists() else "") == new


@pytest.mark.parametrize(
    ("data", "note"),
    [
        (b"\x89PNG\0\0", "it is not a text"),
        (b"a\0b", "it is not a text"),
        (b"\xff\xfe", "it is not a text"),
        (b"# coding: no-such-thing\n", "it is not a text"),
        (b"x" * (LARGEST_FILE + 1), "it is larger than 256 KiB"),
        (b"\n" * (MOST_LINES + 1), "it has more than 5000 lines"),
    ],
)
def test_what_cannot_be_compared_line_by_line_is_not_and_the_note_says_why(data: bytes, note: str) -> None:
    assert code_difference("f", b"x\n", data) == CodeDifference("", note)
    assert code_difference("f", data, b"x\n") == CodeDifference("", note)


def test_a_file_is_read_in_the_encoding_that_it_declares() -> None:
    old, new = (f"# coding: latin-1\nname = '{name}'\n".encode("latin-1") for name in ("größer", "kleiner"))
    assert "-name = 'größer'\n+name = 'kleiner'" in code_difference("f", old, new).diff


def test_a_long_diff_is_cut_and_says_so() -> None:
    found = code_difference("f", b"", b"x\n" * 300)
    assert len(found.diff.splitlines()) == LONGEST_DIFF
    assert found.note == "103 more lines of the diff are not shown"


def test_a_file_whose_text_is_the_same_counts_in_another_way() -> None:
    found = code_difference("f", b"x\n", b"x\n")
    assert found == CodeDifference("", "its text is the same; whether or how it counts has changed")


def test_an_empty_file_that_appears_has_no_line_to_show() -> None:
    assert code_difference("__init__.py", None, b"").note == (
        "no line of it differs: it is empty, or its encoding has changed"
    )


MODULE = """
import json
A, B = 1, 2

def clean(text):
    return text.lower()

if True:
    class Table:
        rows = A
"""


@pytest.mark.parametrize(
    ("old", "new", "names"),
    [
        ("lower", "upper", ("clean",)),
        ("    return", "    # lower case\n    return", ()),
        ("A, B = 1, 2", "A = 1", ("A", "B")),
        ("rows = A", "rows = B", ("Table",)),
        ("import json", "import os as json, re", ("json", "re")),
        ("def clean(text)", "def tidy(text)", ("clean", "tidy")),
        ("import json", "import json json", ()),
    ],
)
def test_of_a_module_the_names_are_told_that_are_bound_otherwise(
    old: str, new: str, names: tuple[str, ...]
) -> None:
    assert old in MODULE
    found = code_difference("words.py", MODULE.encode(), MODULE.replace(old, new).encode())
    assert found.diff
    assert found.names == names


def test_of_what_is_no_python_no_names_are_told() -> None:
    assert code_difference("words.txt", b"A = 1\n", b"A = 2\n").names == ()
    assert code_difference("words.py", None, b"A = 2\n").names == ("A",)
