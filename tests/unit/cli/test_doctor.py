"""``airflow mlpipe doctor``: what it prints, and its exit code."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_mlpipe.pipeline.doctor.examination import CHECKS
from airflow_mlpipe.store.datastore import Datastore


def test_a_sound_installation_passes(airflow_mlpipe: Any, store: Datastore) -> None:
    answer = airflow_mlpipe("doctor")
    assert answer.code == 0
    assert "ok    datastore: " in answer.out
    assert answer.out.rstrip().endswith("0 failed")


def test_a_failure_says_how_to_mend_it_and_is_the_exit_code(
    airflow_mlpipe: Any, store: Datastore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__MLPIPE__VERIFY", "twice")
    answer = airflow_mlpipe("doctor")
    assert answer.code == 1
    assert answer.out.splitlines() == [
        "FAIL  options: [mlpipe] verify is 'twice'",
        "      mend: it must be auto, size, digest or none",
        "0 ok, 0 warnings, 1 failed",
    ]


def test_the_document_has_every_check(airflow_mlpipe: Any, store: Datastore) -> None:
    document = airflow_mlpipe("doctor", "-o", "json").json
    assert [found["check"] for found in document["checks"]] == list(CHECKS)
    assert all(found["level"] in ("ok", "warn") for found in document["checks"])
