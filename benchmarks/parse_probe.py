"""Parse one DAG file as Airflow's DAG processor does, once, and print what it cost as JSON.

Run as ``python -m benchmarks.parse_probe FILE MODULE [--watch]``. MODULE is what the file imports besides
Airflow's SDK; it is imported first, so that its share is known by itself. With ``--watch`` hashing and the
reading of files are counted, and the times mean nothing.
"""

from __future__ import annotations

import hashlib
import json
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import psutil
from airflow.dag_processing.dagbag import BundleDagBag
from airflow.sdk import BaseOperator  # noqa: F401 - every DAG file needs it, so neither side pays for it
from airflow.serialization.serialized_objects import LazyDeserializedDAG


def main(file: Path, module: str, *, watch: bool) -> None:
    """Measure; times in seconds, memory in bytes."""
    seen: Counter[str] = _watched(file.parent) if watch else Counter()
    memory = [_peak_memory()]
    times = [time.perf_counter()]
    import_module(module)
    times.append(time.perf_counter())
    memory.append(_peak_memory())
    bag = BundleDagBag(str(file), bundle_path=file.parent, bundle_name="benchmark")
    times.append(time.perf_counter())
    since_start = time.time() - psutil.Process().create_time()
    memory.append(_peak_memory())
    seen_while_parsing = dict(seen)
    (dag,) = bag.dags.values()
    began = time.perf_counter()
    LazyDeserializedDAG.from_dag(dag)
    report = {
        "tasks": len(dag.tasks),
        "import": times[1] - times[0],
        "parse": times[2] - times[1],
        "since_start": since_start,
        "serialize": time.perf_counter() - began,
        "import_memory": memory[1] - memory[0],
        "parse_memory": memory[2] - memory[1],
        "seen": seen_while_parsing,
    }
    print(json.dumps(report))


def _watched(folder: Path) -> Counter[str]:
    """Counts, from now on, of files opened below *folder*, databases opened and SHA-256 digests begun."""
    seen: Counter[str] = Counter(files_opened=0, databases_opened=0, digests=0)

    def hear(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and str(arguments[0]).startswith(f"{folder}/"):
            seen["files_opened"] += 1
        if event == "sqlite3.connect":
            seen["databases_opened"] += 1

    def counting(function: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **keywords: Any) -> Any:
            seen["digests"] += 1
            return function(*arguments, **keywords)

        return counted

    sys.addaudithook(hear)
    hashlib.sha256 = counting(hashlib.sha256)
    return seen


def _peak_memory() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], watch="--watch" in sys.argv[3:])
