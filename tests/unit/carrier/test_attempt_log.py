from __future__ import annotations

import io
import os
from pathlib import Path

from airflow_mlpipe.carrier.log import AttemptLog


def test_what_is_shown_is_what_the_log_holds(tmp_path: Path) -> None:
    shown = io.BytesIO()
    log = AttemptLog(tmp_path / "attempt" / "log.txt", shown)
    assert not log.show()
    log.say("fetching input raw:\n 1 GB")
    with log.path.open("ab") as stream:
        stream.write(b"half a line")
    assert log.show()
    log.say("target: no room")
    assert shown.getvalue() == log.path.read_bytes()
    assert shown.getvalue().decode().splitlines() == [
        "mlpipe-carrier: fetching input raw: 1 GB",
        "half a line",
        "mlpipe-carrier: target: no room",
    ]


def test_where_there_can_be_no_log_a_line_is_shown_nevertheless(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    shown = io.BytesIO()
    AttemptLog(tmp_path / "file" / "log.txt", shown).say("target: no room")
    assert shown.getvalue() == b"mlpipe-carrier: target: no room\n"


def test_a_step_goes_on_when_nobody_looks_any_more(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb", buffering=0) as shown:
        log = AttemptLog(tmp_path / "log.txt", shown)
        log.say("one")
        log.say("two")
    assert log.path.read_text() == "mlpipe-carrier: one\nmlpipe-carrier: two\n"
