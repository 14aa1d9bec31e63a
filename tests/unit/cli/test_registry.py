"""``airflow mlpipe dataset`` and ``model``: versions listed, shown, registered and fetched."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Any

import pytest
import yaml

from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.layout import registered_key
from airflow_mlpipe.store.manifest import ManifestPin
from airflow_mlpipe.store.registry import DatasetVersion, Lineage, Registry


@pytest.fixture
def data(tmp_path: Path, store: Datastore, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with rows and weights."""
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n")
    (tmp_path / "weights.bin").write_bytes(b"weights")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_dataset_is_registered_listed_and_shown(airflow_mlpipe: Any, data: Path, store: Datastore) -> None:
    words = (
        "register",
        "rows",
        "rows.csv",
        "--table",
        "delimited",
        "--tag",
        "from=ann",
        "--description",
        "d",
    )
    answer = airflow_mlpipe("dataset", *words)
    assert (answer.code, answer.out) == (0, f"Registered dataset rows version 1: {data}/rows.csv\n")
    again = airflow_mlpipe("dataset", *words, "-o", "json").json
    assert (again["version"], again["is_new"]) == (1, False)

    (row,) = airflow_mlpipe("dataset", "list", "-o", "json").json
    assert (row["name"], row["latest"], row["versions"], row["size"]) == ("rows", 1, 1, 8)
    assert "rows" in airflow_mlpipe("dataset", "list").out

    shown = airflow_mlpipe("dataset", "show", "rows", "-o", "json").json
    assert (shown["version"], shown["versions"], shown["tags"]) == (1, [1], {"from": "ann"})
    assert (shown["registered_by"], shown["table"]["format"]) == (getpass.getuser(), "delimited")
    assert (shown["uri"], shown["datastore"]) == (f"{data}/rows.csv", store.url)
    text = airflow_mlpipe("dataset", "show", "rows").out
    assert text.startswith("rows version 1\n")
    assert f"  data         {data}/rows.csv, 8 B\n" in text
    assert "  tags         from=ann\n" in text


def test_a_model_is_registered_shown_and_fetched_whole(airflow_mlpipe: Any, data: Path) -> None:
    answer = airflow_mlpipe("model", "register", "digits", "weights.bin", "--property", "a=b", "-o", "yaml")
    assert yaml.safe_load(answer.out)["version"] == 1
    shown = airflow_mlpipe("model", "show", "digits", "--version", "1", "-o", "json").json
    assert (shown["properties"], shown["lineage"]) == ({"a": "b"}, None)
    fetched = airflow_mlpipe("model", "download", "digits", "--to", "there")
    assert fetched.out == "there/weights.bin\n"
    assert Path("there/weights.bin").read_bytes() == b"weights"
    assert "is there already" in airflow_mlpipe("model", "download", "digits", "--to", "there").err

    stored = Path(shown["uri"].removeprefix("file://"))
    stored.chmod(0o644)
    stored.write_bytes(b"changed")
    damaged = airflow_mlpipe("model", "download", "digits", "--to", "there", "--force")
    assert (damaged.code, damaged.out) == (1, "")
    assert "is damaged" in damaged.err
    assert Path("there/weights.bin").read_bytes() == b"weights"


def test_what_a_step_made_is_shown_with_its_lineage(
    airflow_mlpipe: Any, steps: Any, store: Datastore
) -> None:
    manifest = steps.sealed()
    output = manifest.outputs["data"]
    version = DatasetVersion(
        name="raw",
        digest=output.digest,
        size=output.size,
        registered_by="retrain/r1/train",
        output=output,
        lineage=Lineage(
            fingerprint=manifest.fingerprint,
            producer=manifest.producer.instance,
            inputs={"rows": ManifestPin(kind="dataset", name="rows", version=3)},
        ),
    )
    Registry(store, DatasetVersion).register(version, lambda latest: False)
    text = airflow_mlpipe("dataset", "show", "raw").out
    assert "  made by      retrain/r1/train\n" in text
    assert "  from         rows: dataset rows version 3\n" in text


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("dataset", "show", "nothing"), 1, "no dataset 'nothing' is registered in file://"),
        (("model", "download", "nothing"), 1, "no model 'nothing' is registered in file://"),
        (("dataset", "show", "rows", "--version", "0"), 2, "give a number from 1 on, or 'latest'"),
        (("dataset", "register", "a b", "rows.csv"), 1, "dataset name 'a b' is not valid"),
        (("dataset", "register", "rows", "missing.csv"), 1, "nothing is at"),
        (("model", "register", "digits", "missing.bin"), 1, "nothing is at"),
        (("model", "register", "digits", "weights.bin", "--tag", "a"), 2, "write key=value"),
    ],
)
def test_a_mistake_is_told_in_a_sentence(
    airflow_mlpipe: Any, data: Path, words: tuple[str, ...], code: int, sentence: str
) -> None:
    answer = airflow_mlpipe(*words)
    assert answer.code == code
    assert sentence in answer.err
    assert "Traceback" not in answer.err


def test_a_record_that_cannot_be_used_is_listed_as_that(
    airflow_mlpipe: Any, data: Path, store: Datastore
) -> None:
    airflow_mlpipe("dataset", "register", "rows", "rows.csv")
    store.write(registered_key("dataset", "rows", 1), b"{")
    (row,) = airflow_mlpipe("dataset", "list", "-o", "json").json
    assert row["description"].startswith("unusable: dataset rows version 1")
    assert airflow_mlpipe("dataset", "list").code == 0
    assert airflow_mlpipe("dataset", "show", "rows").code == 1
