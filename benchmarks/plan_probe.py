"""Read one DAG file and plan its DAG, once, and print what it cost as JSON; times in seconds.

Run as ``python -m benchmarks.plan_probe FILE [--run]``. With ``--run`` the DAG is run instead, so that there
is something to reuse.
"""

from __future__ import annotations

import json
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any


def main(file: Path, *, run: bool) -> dict[str, Any]:
    """Measure, or run."""
    times = [time.perf_counter()]
    from airflow.dag_processing.dagbag import BundleDagBag
    from airflow.sdk import BaseOperator  # noqa: F401 - every DAG file needs it

    import airflow_mlpipe.operators.python_script  # noqa: F401 - and this one's steps

    times.append(time.perf_counter())
    (dag,) = BundleDagBag(str(file), bundle_path=file.parent, bundle_name="dags-folder").dags.values()
    times.append(time.perf_counter())
    if run:
        return _run(dag)
    from airflow_mlpipe import plan

    times.append(time.perf_counter())
    planned = plan(dag)
    times.append(time.perf_counter())
    spans = [after - before for before, after in pairwise(times)]
    return {
        **dict(zip(("import", "parse", "plan_import", "plan"), spans, strict=True)),
        "reuse": planned.count("reuse"),
    }


def _run(dag: Any) -> dict[str, Any]:
    from airflow.utils.db import initdb

    initdb()
    run = dag.test()
    if str(run.state) != "success":
        raise RuntimeError(f"the run of {dag.dag_id} ended in {run.state}")
    return {"state": str(run.state)}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), run="--run" in sys.argv[2:])))
