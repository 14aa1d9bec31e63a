"""A deployment with something in its datastore, and ``airflow mlpipe`` typed in this process."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from airflow.cli.cli_parser import get_parser

from airflow_mlpipe.records import to_json
from airflow_mlpipe.runtime.artifacts.artifact import DESCRIPTOR, ArtifactDescriptor
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.layout import output_key
from airflow_mlpipe.store.listing import describe_output
from airflow_mlpipe.store.manifest import Manifest, ManifestReturned, Producer
from airflow_mlpipe.store.run_record import RecordedReason, RunRecord, RunRecords
from airflow_mlpipe.store.sealing import seal
from tests.typed import Typed


@pytest.fixture
def airflow_mlpipe() -> Callable[..., Typed]:
    """Type a command: its words after ``airflow mlpipe``."""

    def type_command(*words: str) -> Typed:
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            try:
                args = get_parser().parse_args(["mlpipe", *words])
                args.func(args)
                code = 0
            except SystemExit as end:
                code = int(end.code or 0)
        return Typed(code, out.getvalue(), err.getvalue())

    return type_command


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Datastore:
    """The deployment's datastore, empty."""
    monkeypatch.setenv("AIRFLOW__MLPIPE__DATASTORE", str(tmp_path / "store"))
    return Datastore.open(str(tmp_path / "store"))


@dataclass
class Steps:
    """Puts finished steps into a datastore, as a worker would."""

    datastore: Datastore
    scratch: Path
    made: int = 0

    def sealed(self, run: str = "r1", task: str = "train", fingerprint: str = "ab" * 32) -> Manifest:
        """A sealed step with the file ``model`` and the folder ``data``, and the record of its run."""
        self.made += 1
        attempt = f"{task}-{self.made}"
        manifest = seal(self.datastore, self._manifest(run, task, fingerprint, attempt))
        self.recorded(run, task, fingerprint, attempt=attempt, sealed=True, seconds=manifest.seconds)
        return manifest

    def called(self, fingerprint: str = "cd" * 32) -> Manifest:
        """A sealed function with the file ``model``, which returned a table, a number, and a dict."""
        self.made += 1
        attempt = f"call-{self.made}"
        table = self.scratch / attempt / "table"
        table.mkdir(parents=True)
        (table / "data.parquet").write_bytes(b"PAR1")
        descriptor = ArtifactDescriptor("parquet", "pandas.DataFrame", "data.parquet")
        (table / DESCRIPTOR).write_text(to_json(descriptor))
        self.datastore.upload(table, output_key(attempt, "table"))
        written = self._manifest("r1", "train", fingerprint, attempt + "-files")
        table_output = describe_output(self.datastore, attempt, "table", table)
        parameters = {
            "lr": {"value": 0.1},
            "config": {"value": {"depth": 3}},
            "raw": {"input": "raw"},
        }
        manifest = written.model_copy(
            update={
                "recipe": {**written.recipe, "parameters": parameters},
                "outputs": {"model": written.outputs["model"], "table": table_output},
                "returned": ManifestReturned.of({"rows": 18, "a/b": {"x": [1]}}, ["table"], unrolled=True),
            }
        )
        return seal(self.datastore, manifest)

    def recorded(self, run: str, task: str, fingerprint: str, **fields: Any) -> RunRecord:
        """The record of a run alone."""
        values: dict[str, Any] = {
            "dag_id": "retrain",
            "run_id": run,
            "task_id": task,
            "map_index": -1,
            "try_number": 1,
            "status": "succeeded",
            "action": "ran",
            "reasons": (RecordedReason(kind="changed", text="argument --lr 0.1 -> 0.2"),),
            "fingerprint": fingerprint,
            "attempt": "",
            "sealed": False,
            "compared_with": None,
            "inputs": {},
            "snapshot": None,
            "decided_at": 1_000.0 + self.made,
            "finished_at": 1_060.0 + self.made,
            "seconds": None,
            "saved_seconds": None,
            "store": self.datastore.url,
        }
        record = RunRecord(**{**values, **fields})
        RunRecords(self.datastore).write(record)
        return record

    def _manifest(self, run: str, task: str, fingerprint: str, attempt: str) -> Manifest:
        made = self.scratch / attempt
        (made / "data" / "inner").mkdir(parents=True)
        (made / "model").write_bytes(b"weights")
        (made / "data" / "a.csv").write_bytes(b"1,2\n")
        (made / "data" / "inner" / "run.sh").write_bytes(b"exit 0\n")
        (made / "data" / "inner" / "run.sh").chmod(0o755)
        outputs = {}
        for name in ("model", "data"):
            key = output_key(attempt, name)
            self.datastore.upload(made / name, key)
            output = describe_output(self.datastore, attempt, name, made / name)
            assert output is not None
            outputs[name] = output
        return Manifest(
            schema_version=1,
            fingerprint=fingerprint,
            recipe={"schema_version": 1, "step": {"kind": "python_script", "entry": f"{task}.py"}},
            outputs=outputs,
            results={"accuracy": 0.97},
            parent_metrics={},
            tags={},
            producer=Producer(
                dag_id="retrain",
                run_id=run,
                task_id=task,
                map_index=-1,
                try_number=1,
                attempt=attempt,
                experiment="retrain",
                host="worker-1",
            ),
            started_at=1_000.0,
            finished_at=1_060.0,
            sealed_at=1_061.0,
            snapshot=None,
            provider_version="0.1.0",
        )


@pytest.fixture
def steps(store: Datastore, tmp_path: Path) -> Steps:
    return Steps(store, tmp_path / "made")
