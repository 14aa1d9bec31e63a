"""One step without a scheduler: its code, its datastore, and the context that Airflow would give it."""

from __future__ import annotations

import os
import runpy
import textwrap
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil

SCRIPT = """
    import sys
    with open(sys.argv[1], "a") as runs:
        runs.write("x")
    with open(sys.argv[2], "w") as output:
        output.write("made")
"""


FUNCTION = """
    from pathlib import Path
    from airflow_mlpipe import Output

    def work(runs: str, made: Output[Path]) -> dict:
        with open(runs, "a") as file:
            file.write("x")
        made.write_text("made")
        return {"copy": b"made", "size": 4}
"""


@dataclass(frozen=True)
class HandedOn:
    """What a task instance handed on: the reference of its output, and its decision."""

    reference: Any
    decision: dict[str, Any]


@dataclass
class LoneStep:
    """A step with one output ``made``; everything of it lies below *folder*.

    Its *script* is told the path of a file to which it appends one character a run, and that of its output.
    Several processes may run it at once, each as a task instance of its own.
    """

    folder: Path
    script: str = SCRIPT
    settings: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        source = self.folder / "dags" / "src"
        source.mkdir(parents=True)
        (source / "work.py").write_text(textwrap.dedent(self.script))

    @property
    def store(self) -> Path:
        return self.folder / "store"

    @property
    def executions(self) -> int:
        """How often the script has begun."""
        runs = self.folder / "runs"
        return len(runs.read_text()) if runs.exists() else 0

    def run(self, run_id: str = "run", try_number: int = 1, *, pause: float = 0.1) -> HandedOn:
        """Look until the step is done, with *pause* seconds between looks; raises what the step raises."""
        os.environ.update(self._environment())
        pushed: dict[str, Any] = {}
        context = _context(run_id, try_number, pushed)
        while True:
            outcome = self._operator().poke(context)  # a task that is rescheduled is a new object each time
            if outcome.is_done:
                handed_on = {**outcome.xcom_value, **pushed}
                return HandedOn(handed_on["made"], handed_on["mlpipe_decision"])
            time.sleep(pause)

    def processes(self) -> list[psutil.Process]:
        """What attempts of this step have started and still runs."""
        return [process for process in psutil.process_iter() if self._started(process)]

    def _started(self, process: psutil.Process) -> bool:
        try:
            alive = process.status() != psutil.STATUS_ZOMBIE
            return alive and process.environ().get("MLPIPE_SPEC", "").startswith(f"{self.store}/")
        except psutil.Error:
            return False

    def _environment(self) -> dict[str, str]:
        settings = {
            "datastore": f"file://{self.store}",
            "work_directory": str(self.folder / "work"),
            "cache_directory": str(self.folder / "cache"),
            **self.settings,
        }
        return {f"AIRFLOW__MLPIPE__{name.upper()}": value for name, value in settings.items()}

    def _operator(self) -> Any:
        from airflow_mlpipe import PipelineData, PythonScriptStep

        return PythonScriptStep(
            task_id="work",
            source_directory="src",
            script_name="work.py",
            arguments=[str(self.folder / "runs"), PipelineData("made")],
            mode="poke",
            dag=self._dag(),
        )

    def _dag(self) -> Any:
        from airflow.sdk import DAG

        dag = DAG("lone", schedule=None)
        dag.fileloc = str(self.folder / "dags" / "lone.py")
        return dag


@dataclass
class LoneFunction(LoneStep):
    """The same as a function, which returns an artifact and a number as well."""

    script: str = FUNCTION

    def _operator(self) -> Any:
        from airflow_mlpipe import step

        module = runpy.run_path(str(self.folder / "dags" / "src" / "work.py"))
        work = step(mode="poke", dag=self._dag())(module["work"])
        return work(str(self.folder / "runs")).operator


def _context(run_id: str, try_number: int, pushed: dict[str, Any]) -> dict[str, Any]:
    instance = SimpleNamespace(
        dag_id="lone",
        run_id=run_id,
        task_id="work",
        map_index=-1,
        try_number=try_number,
        id=f"{run_id}-{try_number}",
        xcom_push=lambda key, value: pushed.update({key: value}),
        xcom_pull=lambda **_: None,
    )
    return {"ti": instance, "dag_run": SimpleNamespace(conf={}), "params": {}}
