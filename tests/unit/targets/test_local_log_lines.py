from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_mlpipe.targets.log_lines import MAXIMUM_LENGTH, LogLines


def lines_of(chunks: Iterable[bytes], times: Iterable[float] = ()) -> list[str]:
    remaining = iter(times)
    lines = LogLines(clock=lambda: next(remaining, 0.0))
    return [line for chunk in chunks for line in lines.feed(chunk)] + list(lines.close())


@pytest.mark.parametrize(
    ("output", "lines"),
    [
        (b"", []),
        (b"one\ntwo\n", ["one", "two"]),
        (b"one\r\ntwo\r\n", ["one", "two"]),
        (b"no end", ["no end"]),
        (b"\n\n", ["", ""]),
        (b"\xff\xfe\n", ["\ufffd\ufffd"]),
        ("grüße\n".encode(), ["grüße"]),
    ],
)
def test_lines_are_decoded_one_by_one(output: bytes, lines: list[str]) -> None:
    assert lines_of([output]) == lines


@given(st.lists(st.text(alphabet="aä \t", max_size=5)), st.data())
def test_lines_do_not_depend_on_how_they_arrive(texts: list[str], data: st.DataObject) -> None:
    output = "".join(f"{text}\r\n" for text in texts).encode()
    cut = data.draw(st.integers(0, len(output)))
    assert lines_of([output[:cut], output[cut:]]) == texts


def test_a_progress_bar_is_shown_once_a_second_and_as_it_ends() -> None:
    updates = [b"\r 10%", b"\r 20%", b"\r 30%", b"\r 40%", b"\r100%\n", b"done\n"]
    assert lines_of(updates, times=[0.0, 0.5, 1.0, 1.5]) == [" 10%", " 30%", "100%", "done"]


def test_a_progress_bar_that_ends_its_updates_with_a_return_shows_its_last_state() -> None:
    assert lines_of([b"1%\r", b"50%\r", b"99%\r", b"\n"]) == ["1%", "99%"]
    assert lines_of([b"1%\r", b"50%\r", b"99%\r"]) == ["1%", "99%"]


def test_a_long_line_is_cut() -> None:
    (line,) = lines_of([b"x" * (MAXIMUM_LENGTH + 1) + b"\n"])
    assert (len(line), line[-2:]) == (MAXIMUM_LENGTH, "x…")
    assert lines_of([b"x" * MAXIMUM_LENGTH]) == ["x" * MAXIMUM_LENGTH]


def test_an_endless_line_takes_no_memory_and_what_follows_is_read() -> None:
    lines = LogLines()
    for _ in range(100):
        assert list(lines.feed(b"x" * 65536)) == []
    assert len(lines._rest) <= 4 * MAXIMUM_LENGTH
    cut, following = lines.feed(b"x\nnext\n")
    assert (len(cut), following) == (MAXIMUM_LENGTH, "next")
