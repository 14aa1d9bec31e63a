from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from airflow_mlpipe.runtime.documents import replace, write_once


def test_replacing_leaves_the_new_text_and_nothing_else(tmp_path: Path) -> None:
    for text in ("old", "new"):
        replace(tmp_path / "heartbeat", text)
    assert (tmp_path / "heartbeat").read_text() == "new"
    assert os.listdir(tmp_path) == ["heartbeat"]  # noqa: PTH208


def test_writing_once_keeps_the_first_text(tmp_path: Path) -> None:
    assert write_once(tmp_path / "result.json", "first")
    assert not write_once(tmp_path / "result.json", "second")
    assert (tmp_path / "result.json").read_text() == "first"
    assert os.listdir(tmp_path) == ["result.json"]  # noqa: PTH208


def test_a_filesystem_without_hard_links_serves_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    test_writing_once_keeps_the_first_text(tmp_path)


def test_a_reader_never_sees_a_part(tmp_path: Path) -> None:
    path = tmp_path / "heartbeat"
    replace(path, "a" * 100_000)
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            replace(path, "a" * 100_000)

    writer = threading.Thread(target=write)
    writer.start()
    sizes = {len(path.read_text()) for _ in range(300)}
    stop.set()
    writer.join()
    assert sizes == {100_000}
