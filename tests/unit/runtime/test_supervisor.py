"""One supervisor process an attempt, as a driver starts it."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from airflow_mlpipe.runtime.supervisor import tail

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's process tree")

SLEEP_AND_SAY_PID = """
import os, pathlib, time
pathlib.Path("pid").write_text(f"{os.getpid()}\\n")
time.sleep(60)
"""

# Two forks and a session of its own: nothing but the supervisor's adoption connects it to the step.
DAEMON = """
import os, pathlib, signal, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        if "stubborn" in sys.argv:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        pathlib.Path("daemon").write_text(f"{os.getpid()}\\n")
        time.sleep(60)
    os._exit(0)
os.wait()
while not pathlib.Path("daemon").exists():
    time.sleep(0.01)
if "stay" in sys.argv:
    time.sleep(60)
"""


def wait_until(holds: Any, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_a_step_that_ends_well_has_succeeded(attempt: Any) -> None:
    before = time.time()
    result = attempt.run_python("print('hello')")
    assert (result.attempt, result.status, result.exit_code) == ("attempt-1", "succeeded", 0)
    assert (result.message, result.last_lines) == ("", ["hello"])
    assert before <= result.started_at <= result.finished_at <= time.time()


@pytest.mark.parametrize("code", [1, 3, 255])
def test_a_step_that_ends_with_another_code_has_failed(attempt: Any, code: int) -> None:
    result = attempt.run_python(f"raise SystemExit({code})")
    assert (result.status, result.exit_code) == ("failed", code)
    assert result.message == f"exited with code {code}"


def test_a_step_killed_by_sigkill_may_have_been_out_of_memory(attempt: Any) -> None:
    result = attempt.run_python("import os; os.kill(os.getpid(), 9)")
    assert (result.status, result.exit_code) == ("failed", -9)
    assert result.message == "killed by signal 9 (SIGKILL), possibly out of memory"


def test_a_step_killed_by_another_signal_says_which(attempt: Any) -> None:
    result = attempt.run_python("import os; os.kill(os.getpid(), 11)")
    assert (result.exit_code, result.message) == (-11, "killed by signal 11 (SIGSEGV)")


def test_a_program_that_does_not_exist_is_named(attempt: Any) -> None:
    result = attempt.run("no-such-program", "--x")
    assert (result.status, result.exit_code) == ("failed", None)
    assert "'no-such-program' was not found" in result.message


def test_a_program_that_is_not_executable_is_named(attempt: Any) -> None:
    script = attempt.directory / "train.sh"
    script.write_text("#!/bin/sh\n")
    result = attempt.run(str(script))
    assert (result.status, result.exit_code) == ("failed", None)
    assert "train.sh' is not executable" in result.message


def test_a_script_without_an_interpreter_line_is_named(attempt: Any) -> None:
    script = attempt.directory / "train"
    script.write_text("echo hello\n")
    script.chmod(stat.S_IRWXU)
    result = attempt.run(str(script))
    assert (result.status, result.exit_code) == ("failed", None)
    assert "train' cannot be started" in result.message


@pytest.mark.parametrize("argv", [[], ["echo", "nul \0 character"]])
def test_an_impossible_argument_list_is_a_failure_with_a_message(attempt: Any, argv: list[str]) -> None:
    result = attempt.run(*argv)
    assert (result.status, result.exit_code) == ("failed", None)
    assert "cannot be started" in result.message


def test_a_missing_working_directory_is_named(attempt: Any) -> None:
    result = attempt.run("true", working_directory="/no/such/folder")
    assert (result.status, result.exit_code) == ("failed", None)
    assert "working directory '/no/such/folder' does not exist" in result.message


def test_arguments_arrive_as_they_were_given(attempt: Any) -> None:
    arguments = [
        "a b",
        'quo"te',
        "it's",
        "two\nlines",
        "*",
        "$HOME",
        "~",
        "",
        "grüße 漢字",
        "-x",
        "\\",
        "`id`",
    ]
    attempt.run_python("import json, sys; print(json.dumps(sys.argv[1:]))", *arguments)
    assert json.loads(attempt.log.read_text()) == arguments


def test_unicode_arguments_arrive_in_a_worker_without_a_locale(attempt: Any) -> None:
    code = "import os, sys; print(os.fsencode(sys.argv[1]).hex())"
    attempt.run_python(code, "grüße", inherited={"LC_ALL": "POSIX", "PYTHONUTF8": "0"})
    assert bytes.fromhex(attempt.log.read_text()).decode() == "grüße"


def test_both_streams_are_one_log_in_the_order_of_writing(attempt: Any) -> None:
    attempt.run("sh", "-c", "echo one; echo two >&2; echo three")
    assert attempt.log.read_text() == "one\ntwo\nthree\n"


def test_python_prints_at_once_even_without_flushing(attempt: Any) -> None:
    attempt.start_python("import time; print('now'); time.sleep(60)")
    wait_until(lambda: attempt.log.exists() and attempt.log.read_text() == "now\n")


def test_the_user_may_want_buffered_output(attempt: Any) -> None:
    code = "import os; print(repr(os.environ['PYTHONUNBUFFERED']))"
    attempt.run_python(code, inherited={"PYTHONUNBUFFERED": ""})
    assert attempt.log.read_text() == "''\n"


def test_output_without_a_line_end_is_the_last_line(attempt: Any) -> None:
    assert attempt.run("printf", "no line end").last_lines == ["no line end"]


def test_binary_output_is_kept_and_shown_with_replacement_characters(attempt: Any) -> None:
    result = attempt.run_python(r"import os; os.write(1, b'\xff\xfe\x00\n')")
    assert attempt.log.read_bytes() == b"\xff\xfe\x00\n"
    assert result.last_lines == ["\ufffd\ufffd\0"]


def test_an_endless_line_costs_the_supervisor_nothing(attempt: Any) -> None:
    result = attempt.run("sh", "-c", "head -c 50000000 /dev/zero | tr '\\0' x")
    assert result.last_lines == ["x" * 500]
    assert attempt.log.stat().st_size == 50_000_000


def test_the_step_reads_nothing_from_standard_input(attempt: Any) -> None:
    attempt.run_python("import sys; print(repr(sys.stdin.read()))")
    assert attempt.log.read_text() == "''\n"


def test_the_step_inherits_variables_and_the_spec_overrides_them(attempt: Any) -> None:
    code = "import os; print(os.environ['SECRET'], os.environ['MODE'], os.environ['MLPIPE_SPEC'])"
    attempt.run_python(code, inherited={"SECRET": "hush", "MODE": "old"}, environment={"MODE": "new"})
    assert attempt.log.read_text() == f"hush new {attempt.directory / 'spec.json'}\n"


def test_a_result_that_exists_is_never_overwritten(attempt: Any) -> None:
    attempt.run("sh", "-c", "echo first")
    first = attempt.result_path.read_bytes()
    attempt.run("sh", "-c", "echo second; exit 1")
    assert attempt.result_path.read_bytes() == first
    assert attempt.log.read_text() == "first\n"


def test_a_result_that_appears_meanwhile_is_not_overwritten(attempt: Any) -> None:
    attempt.start("sh", "-c", "echo somebody else > result.json").wait(10)
    assert attempt.result_path.read_text() == "somebody else\n"


def test_two_supervisors_run_an_attempt_once(attempt: Any) -> None:
    argv = ["sh", "-c", "echo ran; while ! [ -e go ]; do sleep 0.01; done"]
    first = attempt.start(*argv)
    wait_until(lambda: attempt.log.exists() and attempt.log.read_text())
    assert attempt.start(*argv).wait(10) == 0
    assert not attempt.result_path.exists()
    (attempt.directory / "go").touch()
    assert first.wait(10) == 0
    assert attempt.log.read_text() == "ran\n"


def test_the_heartbeat_names_the_supervisor(attempt: Any) -> None:
    supervisor = attempt.start("sleep", "60")
    heartbeat = attempt.directory / "heartbeat"
    wait_until(heartbeat.exists)
    beat = json.loads(heartbeat.read_text())
    assert beat.keys() == {"pid", "started_at", "host", "at"}
    assert beat["pid"] == supervisor.pid
    assert beat["host"] == os.uname().nodename
    assert abs(beat["at"] - time.time()) < 10


def test_sigterm_ends_the_step_and_says_terminated(attempt: Any) -> None:
    supervisor = attempt.start_python(SLEEP_AND_SAY_PID)
    pid = attempt.number_in("pid")
    supervisor.terminate()
    assert supervisor.wait(10) == 0
    assert not is_alive(pid)
    assert (attempt.result().status, attempt.result().exit_code) == ("terminated", -15)


def test_a_step_that_ends_well_on_sigterm_is_terminated_all_the_same(attempt: Any) -> None:
    code = "import signal, sys; signal.signal(15, lambda *_: sys.exit(0))\n" + SLEEP_AND_SAY_PID
    supervisor = attempt.start_python(code)
    attempt.number_in("pid")
    supervisor.terminate()
    supervisor.wait(10)
    assert (attempt.result().status, attempt.result().exit_code) == ("terminated", 0)


def test_a_step_that_ignores_sigterm_is_killed_after_the_grace_period(attempt: Any) -> None:
    code = "import signal; signal.signal(15, signal.SIG_IGN)\n" + SLEEP_AND_SAY_PID
    supervisor = attempt.start_python(code, termination_grace_seconds=0.2)
    attempt.number_in("pid")
    supervisor.terminate()
    supervisor.wait(5)
    assert (attempt.result().status, attempt.result().exit_code) == ("terminated", -9)


@linux_only
def test_termination_reaches_a_daemon_in_a_session_of_its_own(attempt: Any) -> None:
    supervisor = attempt.start_python(DAEMON, "stay")
    daemon = attempt.number_in("daemon")
    supervisor.terminate()
    supervisor.wait(10)
    assert not is_alive(daemon)


@linux_only
@pytest.mark.parametrize("temper", ["docile", "stubborn"])
def test_what_a_step_leaves_running_ends_with_it(attempt: Any, temper: str) -> None:
    result = attempt.run_python(DAEMON, temper)
    assert result.status == "succeeded"
    assert not is_alive(attempt.number_in("daemon"))


@linux_only
def test_what_a_step_leaves_running_may_clean_up(attempt: Any) -> None:
    clean_up = "trap 'echo cleaned; exit' TERM; touch ready; sleep 60 & wait"
    attempt.run("sh", "-c", f'sh -c "{clean_up}" & while ! [ -e ready ]; do sleep 0.01; done')
    assert attempt.log.read_text() == "cleaned\n"


@linux_only
def test_a_supervisor_that_is_killed_takes_the_script_with_it(attempt: Any) -> None:
    supervisor = attempt.start_python(SLEEP_AND_SAY_PID)
    pid = attempt.number_in("pid")
    supervisor.send_signal(signal.SIGKILL)
    supervisor.wait(10)
    wait_until(lambda: not is_alive(pid))
    assert not attempt.result_path.exists()


def test_a_spec_that_cannot_be_read_is_refused_with_a_sentence(tmp_path: Path) -> None:
    spec = tmp_path / "spec.json"
    spec.write_text('{"schema_version": 99}')
    command = [sys.executable, "-m", "airflow_mlpipe.runtime", str(spec)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith(f"cannot read the launch spec {spec}: LaunchSpec has schema_version 99")


def test_the_tail_has_twenty_lines_cut_at_500_characters(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.write_text("".join(f"{number} {'x' * 600}\n" for number in range(100)))
    lines = tail(log)
    assert [line.split()[0] for line in lines] == [str(number) for number in range(80, 100)]
    assert {len(line) for line in lines} == {500}


def test_the_tail_shows_a_progress_bar_as_it_was_left(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.write_bytes(b"start\r\n 10%\r 50%\r100%\ndone\n\n")
    assert tail(log) == ["start", "100%", "done"]


def test_the_tail_of_no_log_is_empty(tmp_path: Path) -> None:
    assert tail(tmp_path / "log.txt") == []
