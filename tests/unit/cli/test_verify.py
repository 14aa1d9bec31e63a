"""``airflow mlpipe verify``: all damage is found, and nothing is changed without a word."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_mlpipe.store import audit
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.invalidation import Invalidations
from airflow_mlpipe.store.layout import manifest_key
from airflow_mlpipe.store.verification import verify

OTHER = "cd" * 32


def test_a_sound_store_is_said_to_be_sound(airflow_mlpipe: Any, steps: Any) -> None:
    steps.sealed("r1")
    steps.sealed("r2", fingerprint=OTHER)
    answer = airflow_mlpipe("verify", "--level", "digest")
    assert answer.code == 0
    assert answer.out == "2 manifests, 4 outputs, 36 B, every byte read: none damaged\n"


@pytest.mark.parametrize(
    ("level", "data", "problem"),
    [
        ("size", None, "output 'model' is missing"),
        ("size", b"longer than before", "output 'model' has 18 bytes instead of 7"),
        ("digest", b"WEIGHTS", "output 'model' has SHA-256"),
    ],
)
def test_damage_is_told_and_fails_the_command(
    airflow_mlpipe: Any, steps: Any, store: Datastore, level: str, data: bytes | None, problem: str
) -> None:
    manifest = steps.sealed()
    key = manifest.outputs["model"].key
    store.delete(key)
    if data is not None:
        store.write(key, data)
    answer = airflow_mlpipe("verify", "--level", level)
    assert answer.code == 1
    assert problem in answer.out
    assert "Nothing was changed" in answer.out
    assert store.exists(manifest_key(manifest.fingerprint))


def test_an_unreadable_manifest_is_damage(airflow_mlpipe: Any, steps: Any, store: Datastore) -> None:
    manifest = steps.sealed()
    store.write(manifest_key(manifest.fingerprint), b"{}")
    answer = airflow_mlpipe("verify", "-o", "json")
    assert answer.code == 1
    assert answer.json["damaged"][0]["fingerprint"] == manifest.fingerprint
    assert "cannot be used" in answer.json["damaged"][0]["problems"][0]


def test_withdrawing_needs_a_yes_and_spares_what_is_sound(
    airflow_mlpipe: Any, steps: Any, store: Datastore
) -> None:
    damaged, sound = steps.sealed("r1"), steps.sealed("r2", fingerprint=OTHER)
    store.delete(damaged.outputs["model"].key)
    airflow_mlpipe("verify", "--withdraw")
    assert store.exists(manifest_key(damaged.fingerprint))
    answer = airflow_mlpipe("verify", "--withdraw", "--yes")
    assert answer.code == 1
    assert "its manifest was withdrawn" in answer.out
    assert not store.exists(manifest_key(damaged.fingerprint))
    assert store.exists(manifest_key(sound.fingerprint))
    assert airflow_mlpipe("verify").code == 0
    said = Invalidations(store).current(damaged.fingerprint)
    assert said is not None
    assert (said.by, said.reason) == ("airflow mlpipe verify", "output 'model' is missing")


def test_outputs_that_were_made_again_while_they_were_read_are_not_withdrawn(
    airflow_mlpipe: Any, steps: Any, store: Datastore, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged = steps.sealed()
    store.delete(damaged.outputs["model"].key)

    def verify_slowly(*asked: Any) -> Any:
        found = verify(*asked)
        store.delete(manifest_key(damaged.fingerprint))
        steps.sealed("r2")
        return found

    monkeypatch.setattr(audit, "verify", verify_slowly)
    answer = airflow_mlpipe("verify", "--withdraw", "--yes", "-o", "json")
    assert answer.json["damaged"][0]["withdrawn"] is False
    assert store.exists(manifest_key(damaged.fingerprint))
    assert Invalidations(store).current(damaged.fingerprint) is None


def test_a_foreign_store_is_told_of_and_left_alone(
    airflow_mlpipe: Any, steps: Any, store: Datastore, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = steps.sealed()
    store.delete(manifest.outputs["model"].key)
    monkeypatch.setenv("AIRFLOW__MLPIPE__READ_DATASTORES", store.url)
    monkeypatch.setenv("AIRFLOW__MLPIPE__DATASTORE", str(tmp_path / "own"))
    answer = airflow_mlpipe("verify", "--withdraw", "--yes", "-o", "json")
    assert answer.code == 1
    assert answer.json["damaged"][0]["withdrawn"] is False
    assert store.exists(manifest_key(manifest.fingerprint))


def test_only_the_named_steps_or_dag_are_checked(airflow_mlpipe: Any, steps: Any) -> None:
    steps.sealed("r1")
    steps.sealed("r2", fingerprint=OTHER)
    assert airflow_mlpipe("verify", "retrain/r1/train", "-o", "json").json["manifests"] == 1
    assert airflow_mlpipe("verify", "--dag", "another", "-o", "json").json["manifests"] == 0
