from __future__ import annotations

import os
from pathlib import Path

import pytest

from airflow_mlpipe.errors import DocumentError
from airflow_mlpipe.records import PRIVATE_VARIABLE, Private, to_json
from airflow_mlpipe.runtime.private import NOTHING, take_private


def test_what_is_handed_over_is_taken_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "private.json"
    path.write_text(to_json(Private({"TOKEN": "s3cret"})))
    monkeypatch.setenv(PRIVATE_VARIABLE, str(path))
    assert take_private().variables == {"TOKEN": "s3cret"}
    assert not path.exists()
    assert PRIVATE_VARIABLE not in os.environ
    assert take_private() is NOTHING


def test_a_file_that_is_not_there_is_an_error_and_not_an_empty_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PRIVATE_VARIABLE, str(tmp_path / "none.json"))
    with pytest.raises(DocumentError, match=r"none\.json.*cannot be read"):
        take_private()
