"""Steps that do not succeed: nothing of them is sealed, and the error says what happened."""

from __future__ import annotations

import signal

import psutil
import pytest

from airflow_mlpipe.store.run_record import RunRecords
from tests.airflow.harness import DagFiles

pytestmark = pytest.mark.airflow


def test_an_exit_code_fails_the_step_and_stops_what_follows(dags: DagFiles) -> None:
    dags.script(
        "make.py",
        """
        import sys
        open(sys.argv[1], "w").write("half")
        print("about to give up")
        sys.exit(3)
    """,
    )
    dags.script("read.py", "pass")
    dags.dag("""
        made = PipelineData("made")
        step("make", made)
        step("read", made.as_input())
    """)
    run = dags.run()
    assert run.state == "failed"
    assert run.states == {"make": "failed", "read": "upstream_failed"}
    assert "step 'make': " in run.text
    assert "code 3" in run.text
    assert "its last lines were:\n    about to give up" in run.text
    assert dags.sealed() == []
    assert "make" not in run.actions


def test_the_error_ends_with_the_last_lines_of_the_traceback(dags: DagFiles) -> None:
    dags.script(
        "make.py",
        """
        def fit(rows):
            raise ValueError(f"no rows: {rows}")
        fit([])
    """,
    )
    dags.dag('step("make", PipelineData("made"))')
    error = dags.run().text.partition("its last lines were:")[2]
    assert "in fit" in error
    assert "ValueError: no rows: []" in error


def test_what_a_script_prints_is_in_the_log_line_by_line_from_both_streams(dags: DagFiles) -> None:
    dags.script(
        "make.py",
        """
        import sys
        print("to stdout", flush=True)
        print("to stderr", file=sys.stderr)
        open(sys.argv[1], "w").write("made")
    """,
    )
    dags.dag('step("make", PipelineData("made"))')
    run = dags.run()
    assert {"to stdout", "to stderr"} <= set(run.log)


def test_a_script_that_is_killed_fails_the_step_and_the_signal_is_named(dags: DagFiles) -> None:
    dags.script(
        "make.py",
        """
        import os, signal, sys
        open(sys.argv[1], "w").write("half")
        os.kill(os.getpid(), signal.SIGKILL)
    """,
    )
    dags.dag('step("make", PipelineData("made"))')
    run = dags.run()
    assert run.states == {"make": "failed"}
    assert "SIGKILL" in run.text
    assert dags.sealed() == []


def test_after_the_script_is_mended_the_next_run_makes_what_is_missing_only(dags: DagFiles) -> None:
    dags.script("first.py", "import sys; open(sys.argv[1], 'w').write('first')")
    dags.script("second.py", "raise SystemExit('not yet')")
    dags.dag("""
        first = PipelineData("first")
        step("first", first)
        step("second", first.as_input(), PipelineData("second"))
    """)
    assert dags.run().state == "failed"
    dags.script("second.py", "import sys; open(sys.argv[2], 'w').write(open(sys.argv[1]).read())")
    run = dags.run()
    assert run.actions == {"first": "reused", "second": "ran"}
    assert run.read("second", "second") == "first"


def test_a_retry_runs_the_step_again(dags: DagFiles) -> None:
    dags.script(
        "make.py",
        """
        import os, sys
        from airflow_mlpipe import Run
        print("try", Run.get_context().try_number)
        assert Run.get_context().try_number == 2
        open(sys.argv[1], "w").write("made")
    """,
    )
    dags.dag('step("make", PipelineData("made"), retries=1, retry_delay=timedelta(0))')
    run = dags.run()
    assert run.state == "success"
    assert [line for line in run.log if line.startswith("try ")] == ["try 1", "try 2"]
    assert run.read("make", "made") == "made"


def test_a_failure_leaves_no_lease_behind(dags: DagFiles) -> None:
    dags.script("make.py", "raise SystemExit(1)")
    dags.dag('step("make", PipelineData("made"))')
    dags.run()
    assert list(dags.store.rglob("lease.json")) == []


def test_an_execution_timeout_ends_the_whole_tree_of_the_step(dags: DagFiles) -> None:
    dags.script(
        "make.py",
        """
        import subprocess, sys, time
        child = subprocess.Popen(["sleep", "600"])
        print("child", child.pid, flush=True)
        time.sleep(600)
    """,
    )
    dags.dag('step("make", PipelineData("made"), execution_timeout=timedelta(hours=1))')
    # The timer by which Airflow counts the hour goes off once the child is there.
    dags.log.when("child ", lambda: signal.setitimer(signal.ITIMER_REAL, 0.01))
    run = dags.run()
    assert run.states == {"make": "failed"}
    (child,) = [int(line.split()[1]) for line in run.log if line.startswith("child ")]
    assert not is_alive(child)
    assert dags.sealed() == []
    record = RunRecords(dags.datastore).read(dags.dag_id(), run.run_id, "make")
    assert record is not None
    assert record.status == "failed"


def is_alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
