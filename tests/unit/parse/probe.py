"""Parse a folder of DAG files as Airflow's DAG processor does, and print what came of it as JSON.

Run as ``python probe.py FOLDER``. A process of its own, because audit hooks stay for good, and because
what is asked is what a fresh process finds.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from airflow.dag_processing.dagbag import BundleDagBag
from airflow.models.serialized_dag import SerializedDagModel
from airflow.serialization.serialized_objects import LazyDeserializedDAG

import airflow_mlpipe

PACKAGE = str(Path(airflow_mlpipe.__file__).parent)


class Watch:
    """Notes which files below *folder* are opened, which databases, and who in our package hashes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.opened: set[str] = set()
        self.databases: set[str] = set()
        self.hashers: set[str] = set()

    def start(self) -> None:
        sys.addaudithook(self._hear)
        for name in ("sha256", "new", "file_digest"):
            if hasattr(hashlib, name):
                setattr(hashlib, name, self._noting(getattr(hashlib, name)))

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(arguments[0], (str, Path)):
            path = Path(arguments[0])
            if self.folder in path.parents:
                self.opened.add(str(path.relative_to(self.folder)))
        if event == "sqlite3.connect":
            self.databases.add(Path(str(arguments[0])).name)

    def _noting(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*arguments: Any, **keywords: Any) -> Any:
            caller = sys._getframe(1).f_code
            # A constant of a module is not the hashing of anything that an author has.
            if caller.co_filename.startswith(PACKAGE) and caller.co_name != "<module>":
                self.hashers.add(caller.co_filename)
            return function(*arguments, **keywords)

        return noted


def main(folder: Path) -> None:
    watch = Watch(folder)
    watch.start()
    bag = BundleDagBag(str(folder), bundle_path=folder, bundle_name="tests")
    seen = {name: sorted(getattr(watch, name)) for name in ("opened", "databases", "hashers")}
    report = {
        "errors": {Path(path).stem: message for path, message in bag.import_errors.items()},
        "dags": {dag_id: _describe(dag) for dag_id, dag in sorted(bag.dags.items())},
        "seen": seen,
        "control": _control(watch, folder),
    }
    print(json.dumps(report))


def _describe(dag: Any) -> dict[str, Any]:
    serialised = LazyDeserializedDAG.from_dag(dag)
    return {
        "edges": {task.task_id: sorted(task.downstream_task_ids) for task in dag.tasks},
        "params": dag.params.dump(),
        "hash": SerializedDagModel.hash(serialised.data),
        "text": json.dumps(serialised.data),
    }


def _control(watch: Watch, folder: Path) -> dict[str, list[str]]:
    """What the watch notes of a worker's work on the same files: it is able to notice."""
    from airflow_mlpipe.store.hash_cache import HashCache

    with HashCache(Path(os.environ["AIRFLOW_HOME"]) / "digests.sqlite", say=lambda text: None) as cache:
        cache.file_digest(folder / "code" / "train.py")
    return {name: sorted(getattr(watch, name)) for name in ("opened", "databases", "hashers")}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
