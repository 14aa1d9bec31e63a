"""``airflow mlpipe transfer``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_mlpipe.store.datastore import Datastore
from tests.typed import Typed


@pytest.fixture
def raw(tmp_path: Path, store: Datastore, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two files, beside which commands are typed."""
    monkeypatch.setenv("AIRFLOW__MLPIPE__CACHE_DIRECTORY", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    for name in ("raw/a.csv", "raw/deep/b.csv", "copy/old.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path / "raw"


def test_without_yes_it_says_what_would_be_done(airflow_mlpipe: Callable[..., Typed], raw: Path) -> None:
    typed = airflow_mlpipe("transfer", "raw", "copy", "--mirror")
    assert typed.out == (
        "would be deleted: old.csv\n"
        "2 files (23 B) would be copied, 0 were there already, 1 would be deleted\n"
        "Nothing was changed; --yes does it.\n"
    )
    assert [path.name for path in (raw.parent / "copy").iterdir()] == ["old.csv"]


def test_with_yes_it_does_it_and_a_second_time_nothing(
    airflow_mlpipe: Callable[..., Typed], raw: Path
) -> None:
    words = ("transfer", str(raw), f"file://{raw.parent}/copy", "--mirror", "--yes", "-o", "json")
    first, second = airflow_mlpipe(*words).json, airflow_mlpipe(*words).json
    assert (raw.parent / "copy" / "deep" / "b.csv").read_text() == "raw/deep/b.csv"
    assert first == {
        "schema_version": 1,
        "source": str(raw),
        "destination": f"file://{raw.parent}/copy",
        "copied": 2,
        "skipped": 0,
        "deleted": 1,
        "bytes": 23,
        "server_side": first["server_side"],
        "dry_run": False,
        "deletions": ["old.csv"],
    }
    assert (second["copied"], second["skipped"], second["deleted"]) == (0, 2, 0)


def test_a_file_goes_into_a_folder_that_ends_with_a_slash(
    airflow_mlpipe: Callable[..., Typed], raw: Path
) -> None:
    assert airflow_mlpipe("transfer", "raw/a.csv", "copy/", "--yes").code == 0
    assert airflow_mlpipe("transfer", "raw/a.csv", "copy/c.csv", "--yes").code == 0
    assert sorted(path.name for path in (raw.parent / "copy").iterdir()) == ["a.csv", "c.csv", "old.csv"]


@pytest.mark.parametrize(
    ("source", "destination", "sentence"),
    [
        ("nowhere", "copy", "nothing is at 'nowhere'"),
        ("raw", "raw/deep", "lies in raw itself"),
        ("raw", "store/mlpipe", "lies among a datastore's own files"),
        ("datastore://nowhere/x", "copy", "datastore 'nowhere' is not known"),
    ],
)
def test_a_mistake_is_a_sentence(
    airflow_mlpipe: Callable[..., Typed], raw: Path, source: str, destination: str, sentence: str
) -> None:
    typed = airflow_mlpipe("transfer", source, destination, "--yes")
    assert typed.code == 1
    assert sentence in typed.err
    assert "Traceback" not in typed.err
