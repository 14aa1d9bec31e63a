"""``make ui``: Airflow's web UI with the example DAGs until Ctrl-C; what it did is kept for next time."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tools.airflow_instance import AIRFLOW_ERRORS, AirflowInstance
from tools.console import say, show
from tools.example_settings import example_settings

ROOT = Path(__file__).resolve().parent.parent
CHECK_SECONDS = 2.0

EXAMPLES = """\
examples:
  make ui                                   the examples, on a free port of this machine
  make ui UI_ARGS="--port 8080"             on port 8080
  make ui UI_ARGS="--host 0.0.0.0"          reachable from other machines
  python -m tools.ui --dags my_dags         DAGs of your own
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 after Ctrl-C, which is how the UI is meant to end; 1 when Airflow failed."""
    options = _parser().parse_args(arguments)
    where = {"host": options.host, "port": options.port, "settings": example_settings(options.dags)}
    try:
        with AirflowInstance(options.folder, options.dags, **where) as airflow:
            show()
            show(f"    {airflow.url}    user: {airflow.username}    password: {airflow.password}")
            show()
            say(f"DAGs are read from {airflow.dags_folder}, edits count within seconds. Ctrl-C stops all.")
            while True:
                airflow.check()
                time.sleep(CHECK_SECONDS)
    except KeyboardInterrupt:
        say(f"Stopped. Runs and outputs are kept in {options.folder}.")
        return 0
    except AIRFLOW_ERRORS as error:
        say(f"The UI failed: {error}")
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.ui",
        description="Starts a real Airflow with the example DAGs, prints address, user and password of its "
        "web UI, and stays until Ctrl-C.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--folder", type=Path, default=Path(".demo") / "ui", help="where all is kept (%(default)s)"
    )
    parser.add_argument(
        "--dags", type=Path, default=ROOT / "dags_examples", help="the DAGs folder (dags_examples)"
    )
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, default=0, help="the port; 0 for a free one (%(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
