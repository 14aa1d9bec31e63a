"""DAG files in a bundle of a test's own, run by ``dag.test()``, and what came of a run."""

from __future__ import annotations

import logging
import os
import sys
import textwrap
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import structlog
from airflow.dag_processing.dagbag import BundleDagBag
from airflow.models.asset import AssetEvent
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from airflow.sdk.serde import deserialize
from airflow.utils.session import create_session
from sqlalchemy import select

from airflow_mlpipe import PipelineDataReference
from airflow_mlpipe.pipeline.publication import DECISION_KEY
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.layout import attempt_prefix, manifest_key
from airflow_mlpipe.store.manifest import Manifest, read_manifest

BUNDLE = "tests"

HEADER = """
from datetime import timedelta
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Asset, Param, TaskGroup, TriggerRule, task, task_group
from airflow_mlpipe import (
    CommandStep, Dataset, Environment, LocalTarget, Model, OutputFileDatasetConfig, OutputReuseSensor,
    PipelineData, PipelineParameter, PythonScriptStep, Script,
)

def step(task_id, *arguments, script=None, **keywords):
    return PythonScriptStep(task_id=task_id, source_directory="src", script_name=script or task_id + ".py",
                            arguments=list(arguments), **keywords)

with DAG("{dag_id}", schedule=None, {options}):
"""

FUNCTIONS_HEADER = """
import json
from pathlib import Path
from typing import Any, NamedTuple
from airflow.sdk import DAG, Asset, Param, TaskGroup, TriggerRule, task, task_group
from airflow_mlpipe import (
    OUTPUT, Dataset, Environment, Input, Output, Pickle, PipelineData, PipelineParameter, PythonScriptStep,
    Run, expand_in_chunks, files_in, register_artifact, step,
)
"""

Reaction = Callable[[], object]


class TaskLog:
    """Everything that the tasks of this process log; a test may react to a line while the task waits."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._reactions: list[tuple[str, Reaction]] = []

    def listen(self) -> None:
        """Hear Airflow's own logger and the standard one, from now on."""
        structlog.get_config()["processors"].insert(0, self._hear_event)
        log = self

        class Handler(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                log._hear(record.getMessage(), record.exc_info)

        logging.getLogger("airflow_mlpipe").addHandler(Handler())

    def when(self, text: str, reaction: Reaction) -> None:
        """Call *reaction* once, within the call that logs a line with *text*."""
        self._reactions.append((text, reaction))

    def forget(self) -> None:
        self.lines.clear()
        self._reactions.clear()

    def _hear_event(
        self, logger: Any, method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        text = str(event.get("event"))
        self._hear(
            text % event["positional_args"] if "positional_args" in event else text, event.get("exc_info")
        )
        return event

    def _hear(self, line: str, exc_info: Any) -> None:
        self.lines.append(line)
        error = sys.exc_info()[1] if exc_info is True else exc_info
        if error:
            self.lines.append(str(error[1] if isinstance(error, tuple) else error))
        due = [pair for pair in self._reactions if pair[0] in line]
        self._reactions = [pair for pair in self._reactions if pair not in due]
        for _, reaction in due:
            reaction()


@dataclass(frozen=True)
class RunOutcome:
    """One DAG run. Keys are task ids; an instance of a mapped task is ``task[index]``.

    ``xcoms`` are deserialised, by task and XCom key.
    """

    run_id: str
    state: str
    states: dict[str, str]
    tries: dict[str, int]
    xcoms: dict[str, dict[str, Any]]
    log: list[str]
    asset_events: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "\n".join(self.log)

    @property
    def actions(self) -> dict[str, str]:
        """``ran`` or ``reused`` for each step that finished."""
        return {
            key: found[DECISION_KEY]["action"] for key, found in self.xcoms.items() if DECISION_KEY in found
        }

    def decision(self, key: str) -> dict[str, Any]:
        return cast("dict[str, Any]", self.xcoms[key][DECISION_KEY])

    def returned(self, key: str) -> Any:
        return self.xcoms[key]["return_value"]

    def reference(self, key: str, output: str) -> PipelineDataReference:
        return cast("PipelineDataReference", self.returned(key)[output])

    def path(self, key: str, output: str) -> Path:
        return self.reference(key, output).path()

    def read(self, key: str, output: str) -> str:
        return self.path(key, output).read_text()


class DagFiles:
    """A bundle's folder with DAG files and the code of their steps, and a datastore of its own."""

    def __init__(self, folder: Path, store: Path, log: TaskLog, prefix: str) -> None:
        self.folder = folder
        self.store = store
        self.log = log
        self._prefix = prefix

    @property
    def datastore(self) -> Datastore:
        return Datastore.open(f"file://{self.store}")

    def file(self, name: str, text: str | bytes) -> Path:
        """Write a file below the bundle's folder; a text loses its common indentation."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else textwrap.dedent(text).lstrip("\n").encode())
        return path

    def script(self, name: str, text: str) -> Path:
        """Write a file into ``src``, where the steps of these tests have their code."""
        return self.file(f"src/{name}", text)

    def dag_id(self, name: str = "pipeline") -> str:
        """The id by which Airflow, whose database all tests share, knows the DAG *name* of this test."""
        return f"{self._prefix}_{name}"

    def dag(self, body: str, *, name: str = "pipeline", options: str = "") -> Path:
        """Write the DAG file *name*: *body* stands inside ``with DAG(...)``."""
        header = HEADER.format(dag_id=self.dag_id(name), options=options)
        return self.file(f"{name}.py", header + textwrap.indent(textwrap.dedent(body), "    "))

    def functions(
        self, definitions: str, body: str, *, name: str = "pipeline", options: str = "", imports: str = ""
    ) -> Path:
        """Write the DAG file *name* with *definitions* at its top and *body* inside ``with DAG(...)``."""
        opening = f'with DAG("{self.dag_id(name)}", schedule=None, {options}):\n'
        parts = [imports, FUNCTIONS_HEADER, textwrap.dedent(definitions), opening]
        return self.file(f"{name}.py", "\n".join(parts) + textwrap.indent(textwrap.dedent(body), "    "))

    def run(self, name: str = "pipeline", **conf: Any) -> RunOutcome:
        """Run the DAG of *name* once with *conf*, which also gives values to its params."""
        bag = BundleDagBag(str(self.folder), bundle_path=self.folder, bundle_name=BUNDLE)
        assert not bag.import_errors, bag.import_errors
        return self._run(bag.dags[self.dag_id(name)], conf)

    def run_file(self, path: Path, dag_id: str, **conf: Any) -> RunOutcome:
        """Run the DAG *dag_id* of a file that a test did not write."""
        bag = BundleDagBag(str(path), bundle_path=path.parent, bundle_name=BUNDLE)
        assert not bag.import_errors, bag.import_errors
        return self._run(bag.dags[dag_id], conf)

    def _run(self, dag: Any, conf: dict[str, Any]) -> RunOutcome:
        start = len(self.log.lines)
        run = dag.test(run_conf=conf)
        return outcome(dag.dag_id, run.run_id, str(run.state), self.log.lines[start:])

    def manifest(self, done: RunOutcome, key: str) -> Manifest:
        return read_manifest(self.datastore, done.decision(key)["fingerprint"])

    def manifest_path(self, done: RunOutcome, key: str) -> Path:
        return self.store / manifest_key(done.decision(key)["fingerprint"])

    def attempt_path(self, done: RunOutcome, key: str) -> Path:
        return self.store / attempt_prefix(done.decision(key)["attempt"])

    def sealed(self) -> list[Path]:
        """The manifests in the datastore."""
        return sorted(self.store.rglob("manifest.json"))


def outcome(dag_id: str, run_id: str, state: str, log: list[str]) -> RunOutcome:
    """Read what Airflow's database knows of a run."""
    with create_session() as session:
        instances = session.scalars(
            select(TaskInstance).where(TaskInstance.dag_id == dag_id, TaskInstance.run_id == run_id)
        ).all()
        xcoms: dict[str, dict[str, Any]] = {}
        rows = session.scalars(
            select(XComModel).where(XComModel.dag_id == dag_id, XComModel.run_id == run_id)
        ).all()
        for row in rows:
            found = xcoms.setdefault(_key(row.task_id, row.map_index), {})
            found[row.key] = deserialize(XComModel.deserialize_value(row))
        events = session.scalars(
            select(AssetEvent).where(AssetEvent.source_dag_id == dag_id, AssetEvent.source_run_id == run_id)
        ).all()
        return RunOutcome(
            run_id=run_id,
            state=state,
            states={_key(ti.task_id, ti.map_index): str(ti.state) for ti in instances},
            tries={_key(ti.task_id, ti.map_index): ti.try_number for ti in instances},
            xcoms=xcoms,
            log=log,
            asset_events=[event.asset.name for event in events],
        )


def _key(task_id: str, map_index: int) -> str:
    return task_id if map_index < 0 else f"{task_id}[{map_index}]"


def rewrite(path: Path, content: str | bytes) -> None:
    """Write other bytes and put the time of change back, so that only a look at the content tells."""
    status = path.stat()
    path.chmod(0o644)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
