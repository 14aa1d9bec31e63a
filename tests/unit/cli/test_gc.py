"""``airflow mlpipe gc``: a dry run by default, and never more than is sure."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from airflow import settings as airflow_settings
from sqlalchemy import create_engine
from sqlalchemy.orm import sessionmaker

from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.layout import attempt_prefix, manifest_key

GRACE = ("--grace", "1d")


@pytest.fixture(autouse=True)
def empty_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow's database has no tables, so that live runs are not known."""
    engine = create_engine(f"sqlite:///{tmp_path / 'empty.db'}")
    monkeypatch.setattr(airflow_settings, "Session", sessionmaker(engine))


@pytest.fixture
def sealed(steps: Any, store: Datastore) -> Any:
    """One step, sealed long ago, as everything there."""
    manifest = steps.sealed()
    age(store)
    return manifest


def age(store: Datastore) -> None:
    """Let all files be two days old."""
    root = store.local_path("mlpipe")
    assert root is not None
    for path in root.rglob("*"):
        os.utime(path, (time.time() - 2 * 86400,) * 2)


def files(store: Datastore) -> list[str]:
    return [file.key for file in store.files() if "/locks/" not in file.key]


def test_without_knowledge_of_live_runs_nothing_is_done(airflow_mlpipe: Any, sealed: Any) -> None:
    for words in ((), ("--yes",), ("--grace", "1h")):
        answer = airflow_mlpipe("gc", "--older-than", "30d", *words)
        assert (answer.code, answer.out) == (1, "")
        assert "cannot be asked for live DAG runs" in answer.err
        assert "--grace 1d or more" in answer.err


def test_a_dry_run_tells_what_would_go_and_deletes_nothing(
    airflow_mlpipe: Any, sealed: Any, store: Datastore
) -> None:
    store.write(f"{attempt_prefix('failed-1')}/result.json", b"{}")
    age(store)
    before = files(store)
    answer = airflow_mlpipe("gc", "--older-than", "30d", *GRACE)
    assert answer.code == 0
    assert "1 sealed outputs, 18 B\n" in answer.out
    assert f"  {sealed.fingerprint[:12]} of retrain/r1/train  18 B, last used" in answer.out
    assert ": not used for too long" in answer.out
    assert "1 attempts without a manifest, 2 B\n  failed-1  2 B: no manifest needs it" in answer.out
    assert answer.out.endswith("Nothing was deleted; --yes deletes it.\n")
    assert files(store) == before


def test_a_yes_deletes_and_sums_up(airflow_mlpipe: Any, sealed: Any, store: Datastore) -> None:
    answer = airflow_mlpipe("gc", "--older-than", "30d", *GRACE, "--yes")
    assert answer.code == 0
    assert "2 things, " in answer.out
    assert "0 sealed outputs stay, 0 B" in answer.out
    assert [key.rpartition("/")[2] for key in files(store)] == ["invalidated.json"]
    assert not store.exists(manifest_key(sealed.fingerprint))


def test_a_store_without_garbage_is_said_to_have_none(airflow_mlpipe: Any, sealed: Any) -> None:
    answer = airflow_mlpipe("gc", *GRACE)
    assert answer.out == "There is no garbage.\n1 sealed outputs stay, 18 B\n"


def test_the_document_has_every_item(airflow_mlpipe: Any, sealed: Any, store: Datastore) -> None:
    document = airflow_mlpipe("gc", "--max-size", "0 B", *GRACE, "-o", "json").json
    assert document["deleted"] is False
    assert document["live_runs"] is None
    assert document["outputs"] == {"count": 1, "size": 18}
    (item,) = document["garbage"]
    assert (item["kind"], item["name"]) == ("outputs", sealed.fingerprint)
    done = airflow_mlpipe("gc", "--max-size", "0 B", *GRACE, "--yes", "-o", "json").json
    assert done["deleted"] is True
    assert [item["kind"] for item in done["garbage"]] == ["outputs"]
    assert (done["spared"], done["failed"]) == ([], [])


def test_the_private_store_of_a_read_only_deployment_is_the_one_that_is_collected(
    airflow_mlpipe: Any, sealed: Any, store: Datastore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__MLPIPE__READ_ONLY", "True")
    monkeypatch.setenv("AIRFLOW__MLPIPE__PRIVATE_DATASTORE", str(tmp_path / "private"))
    before = files(store)
    document = airflow_mlpipe("gc", "--max-size", "0 B", *GRACE, "--yes", "-o", "json").json
    assert document["datastore"] == f"file://{tmp_path / 'private'}"
    assert document["garbage"] == []
    assert files(store) == before


@pytest.mark.parametrize(
    "words",
    [
        ("--grace", "soon"),
        ("--older-than", "0 d"),
        ("--keep", "0"),
        ("--max-size", "1 lot"),
        ("--max-size", f"{10**400} TB"),
    ],
)
def test_a_limit_that_is_none_is_a_usage_error(
    airflow_mlpipe: Any, store: Datastore, words: tuple[str, str]
) -> None:
    answer = airflow_mlpipe("gc", *words)
    assert answer.code == 2
    assert words[1] in answer.err or words[0] in answer.err
