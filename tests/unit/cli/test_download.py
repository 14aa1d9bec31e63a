"""``airflow mlpipe download``: sealed bytes or nothing."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.layout import manifest_key


def test_all_outputs_arrive_with_their_bytes_and_executable_bits(
    airflow_mlpipe: Any, steps: Any, tmp_path: Path
) -> None:
    steps.sealed()
    answer = airflow_mlpipe("download", "retrain/r1/train", "--to", str(tmp_path / "got"))
    assert answer.code == 0
    assert answer.out.split() == [str(tmp_path / "got" / name) for name in ("data", "model")]
    assert (tmp_path / "got/model").read_bytes() == b"weights"
    assert os.access(tmp_path / "got/data/inner/run.sh", os.X_OK)
    assert not os.access(tmp_path / "got/data/a.csv", os.X_OK)


def test_one_output_is_chosen_by_name(airflow_mlpipe: Any, steps: Any, tmp_path: Path) -> None:
    steps.sealed()
    assert airflow_mlpipe("download", "abababab", "--name", "model", "--to", str(tmp_path / "got")).code == 0
    assert [path.name for path in (tmp_path / "got").iterdir()] == ["model"]


def test_what_a_function_returned_arrives_as_json_or_as_the_files_it_is_kept_in(
    airflow_mlpipe: Any, steps: Any, tmp_path: Path
) -> None:
    fingerprint, to = steps.called().fingerprint, tmp_path / "got"
    answer = airflow_mlpipe("download", fingerprint, "--to", str(to))
    assert answer.code == 0
    assert answer.out.split() == [str(to / name) for name in ("model", "table", "rows.json")]
    assert json.loads((to / "rows.json").read_text()) == 18
    assert (to / "table/data.parquet").read_bytes() == b"PAR1"
    assert "'a/b' cannot be the name of a file" in answer.err
    assert sorted(path.name for path in to.iterdir()) == ["model", "rows.json", "table"]


def test_one_returned_value_is_chosen_by_name_and_what_is_there_is_kept(
    airflow_mlpipe: Any, steps: Any, tmp_path: Path
) -> None:
    words = ("download", steps.called().fingerprint, "--name", "rows", "--to", str(tmp_path / "got"))
    assert airflow_mlpipe(*words).out.split() == [str(tmp_path / "got/rows.json")]
    assert "is there already" in airflow_mlpipe(*words).err
    assert airflow_mlpipe(*words, "--force").code == 0


def test_an_unknown_name_lists_the_outputs(airflow_mlpipe: Any, steps: Any, tmp_path: Path) -> None:
    steps.sealed()
    answer = airflow_mlpipe("download", "abababab", "--name", "weights", "--to", str(tmp_path / "got"))
    assert answer.code == 1
    assert "no output 'weights'; the step's outputs: data, model" in answer.err


def test_a_name_that_leads_elsewhere_makes_a_manifest_unusable(
    airflow_mlpipe: Any, steps: Any, store: Datastore, tmp_path: Path
) -> None:
    manifest = steps.sealed()
    document = json.loads(manifest.to_bytes())
    document["outputs"]["model"]["name"] = "../precious"
    store.write(manifest_key(manifest.fingerprint), json.dumps(document).encode())
    (tmp_path / "precious").write_text("mine")
    answer = airflow_mlpipe("download", "abababab", "--to", str(tmp_path / "got"), "--force")
    assert answer.code == 1
    assert "cannot be used" in answer.err
    assert (tmp_path / "precious").read_text() == "mine"


def test_what_is_there_is_kept_unless_it_is_to_be_replaced(
    airflow_mlpipe: Any, steps: Any, tmp_path: Path
) -> None:
    steps.sealed()
    (tmp_path / "model").write_text("mine")
    words = ("download", "abababab", "--name", "model", "--to", str(tmp_path))
    assert airflow_mlpipe(*words).code == 1
    assert (tmp_path / "model").read_text() == "mine"
    assert airflow_mlpipe(*words, "--force").code == 0
    assert (tmp_path / "model").read_bytes() == b"weights"


def test_a_damaged_output_does_not_arrive(
    airflow_mlpipe: Any, steps: Any, store: Datastore, tmp_path: Path
) -> None:
    manifest = steps.sealed()
    store.write(f"{manifest.outputs['data'].key}/a.csv", b"1,3\n")
    answer = airflow_mlpipe("download", "abababab", "--name", "data", "--to", str(tmp_path / "got"))
    assert answer.code == 1
    assert "output 'data' is damaged" in answer.err
    assert list((tmp_path / "got").iterdir()) == []
