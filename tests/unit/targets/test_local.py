"""The local driver with real supervisors and real steps."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from airflow_mlpipe.errors import DocumentError, InfrastructureError, TargetError
from airflow_mlpipe.records import HandedCredentials, LaunchSpec, Private, RunInfo, StepResult, to_json
from airflow_mlpipe.targets.contract import AttemptDirectory, TargetDriver
from airflow_mlpipe.targets.local import LocalDriver
from airflow_mlpipe.targets.runtime_bundle import runtime_bundle

RUN_INFO = RunInfo(
    id="run-1", experiment="e", dag_id="d", dag_run_id="r", task_id="t", map_index=-1, try_number=1
)
Step = Callable[..., LaunchSpec]
UNTIL_GO = 'echo started; while ! [ -e "$GO" ]; do sleep 0.01; done; echo done'


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return runtime_bundle(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def driver(bundle: Path) -> LocalDriver:
    return LocalDriver(bundle)


@pytest.fixture
def attempt(tmp_path: Path) -> Iterator[AttemptDirectory]:
    attempt = AttemptDirectory(tmp_path / "attempt", "attempt-1")
    yield attempt
    for process in psutil.process_iter():  # a failed test leaves nothing running
        try:
            environment, command = process.environ(), process.cmdline()
        except psutil.Error:
            continue
        if str(attempt.spec_path) in (environment.get("MLPIPE_SPEC"), *command):
            process.kill()


@pytest.fixture
def go(tmp_path: Path) -> Path:
    return tmp_path / "go"


@pytest.fixture
def step(attempt: AttemptDirectory, tmp_path: Path, go: Path) -> Step:
    def step(*argv: str, **fields: Any) -> LaunchSpec:
        given = {"environment": {"GO": str(go)}, "termination_grace_seconds": 5.0, **fields}
        return LaunchSpec(
            "attempt-1", "f" * 64, list(argv), str(attempt.path), str(tmp_path), RUN_INFO, **given
        )

    return step


def wait_until(holds: Callable[[], Any], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def finish(driver: LocalDriver, attempt: AttemptDirectory) -> StepResult:
    wait_until(lambda: driver.status(attempt) != "running")
    return driver.result(attempt)


def heartbeat(attempt: AttemptDirectory) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(attempt.heartbeat_path.read_text())
    return document


def kill_supervisor(driver: LocalDriver, attempt: AttemptDirectory) -> None:
    os.kill(heartbeat(attempt)["pid"], signal.SIGKILL)
    wait_until(lambda: driver.status(attempt) == "lost")


def test_the_local_driver_is_a_target_driver(driver: LocalDriver) -> None:
    promised: TargetDriver = driver
    assert promised is driver


def test_an_attempt_is_unknown_then_running_then_finished(
    driver: LocalDriver, attempt: AttemptDirectory, step: Step, go: Path
) -> None:
    assert driver.status(attempt) == "unknown"
    driver.launch(attempt, step("sh", "-c", UNTIL_GO))
    assert driver.status(attempt) == "running"
    go.touch()
    assert finish(driver, attempt).status == "succeeded"
    assert driver.status(attempt) == "finished"


def test_launching_a_running_or_finished_attempt_does_nothing(
    driver: LocalDriver, attempt: AttemptDirectory, step: Step, go: Path
) -> None:
    driver.launch(attempt, step("sh", "-c", UNTIL_GO))
    before = heartbeat(attempt)["pid"]
    driver.launch(attempt, step("sh", "-c", UNTIL_GO))
    assert heartbeat(attempt)["pid"] == before
    go.touch()
    finish(driver, attempt)
    driver.launch(attempt, step("sh", "-c", UNTIL_GO))
    assert list(driver.logs(attempt)) == ["started", "done"]


def test_another_driver_joins_a_running_attempt(
    driver: LocalDriver, bundle: Path, attempt: AttemptDirectory, step: Step, go: Path
) -> None:
    driver.launch(attempt, step("sh", "-c", UNTIL_GO))
    other = LocalDriver(bundle)
    other.launch(attempt, step("sh", "-c", UNTIL_GO))
    assert other.status(attempt) == "running"
    go.touch()
    assert list(other.logs(attempt)) == ["started", "done"]
    assert other.result(attempt).status == "succeeded"


def test_an_attempt_outlives_the_process_that_launched_it(
    bundle: Path, driver: LocalDriver, attempt: AttemptDirectory, step: Step, go: Path, tmp_path: Path
) -> None:
    code = (
        "import sys; from pathlib import Path; from airflow_mlpipe.records import *;"
        "from airflow_mlpipe.targets.local import LocalDriver;"
        "from airflow_mlpipe.targets.contract import AttemptDirectory;"
        "spec = from_json(LaunchSpec, Path(sys.argv[2]).read_text());"
        "LocalDriver(Path(sys.argv[1])).launch(AttemptDirectory(Path(spec.directory), spec.attempt), spec)"
    )
    given = tmp_path / "given.json"
    given.write_text(to_json(step("sh", "-c", UNTIL_GO)))
    subprocess.run([sys.executable, "-c", code, str(bundle), str(given)], check=True)
    assert driver.status(attempt) == "running"
    go.touch()
    assert finish(driver, attempt).status == "succeeded"


def test_two_launches_at_once_start_one_step(
    bundle: Path, attempt: AttemptDirectory, step: Step, go: Path
) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: LocalDriver(bundle).launch(attempt, step("sh", "-c", UNTIL_GO)), range(4)))
    go.touch()
    driver = LocalDriver(bundle)
    finish(driver, attempt)
    assert list(driver.logs(attempt)) == ["started", "done"]


def test_a_short_step_is_followed_without_delay(
    driver: LocalDriver, attempt: AttemptDirectory, step: Step
) -> None:
    driver.launch(attempt, step("true"))
    finish(driver, attempt)
    ended = attempt.result_path.stat().st_mtime
    assert list(driver.logs(attempt)) == []
    assert time.time() - ended < 1


def test_logs_end_when_the_supervisor_does_even_after_a_long_silence(
    driver: LocalDriver, attempt: AttemptDirectory, step: Step, go: Path
) -> None:
    driver.launch(attempt, step("sh", "-c", UNTIL_GO))
    lines = driver.logs(attempt)
    assert next(lines) == "started"
    go.touch()
    assert list(lines) == ["done"]


def test_logs_continue_from_an_offset(driver: LocalDriver, attempt: AttemptDirectory, step: Step) -> None:
    driver.launch(attempt, step("printf", "one\\ntwo\\n"))
    finish(driver, attempt)
    assert list(driver.logs(attempt, offset=4)) == ["two"]


def test_an_attempt_that_was_never_launched_has_no_logs(
    driver: LocalDriver, attempt: AttemptDirectory
) -> None:
    assert list(driver.logs(attempt)) == []


def test_arguments_reach_the_step_unchanged(
    driver: LocalDriver, attempt: AttemptDirectory, step: Step
) -> None:
    arguments = ["a b", 'quo"te', "it's", "two\nlines", "*", "$HOME", "", "grüße 漢字"]
    driver.launch(
        attempt, step(sys.executable, "-c", "import json, sys; print(json.dumps(sys.argv[1:]))", *arguments)
    )
    finish(driver, attempt)
    assert json.loads("".join(driver.logs(attempt))) == arguments


def test_secrets_reach_the_step_and_no_file(
    driver: LocalDriver, attempt: AttemptDirectory, step: Step, tmp_path: Path
) -> None:
    private = Private({"TOKEN": "s3cret!"})
    driver.launch(attempt, step(sys.executable, "-c", "import os; print(len(os.environ['TOKEN']))"), private)
    finish(driver, attempt)
    assert list(driver.logs(attempt)) == ["7"]
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or b"s3cret!" not in path.read_bytes()


def test_credentials_reach_the_step_by_a_descriptor_and_stand_in_no_file_and_no_variable(
    driver: LocalDriver, attempt: AttemptDirectory, step: Step, tmp_path: Path
) -> None:
    program = """
import os
handed = os.pread(int(os.environ["MLPIPE_CREDENTIALS_FD"]), 1000, 0).decode()
secret = "s3" + "cret!"
print(secret in handed, any(secret in value for value in os.environ.values()))
"""
    handed = HandedCredentials({"s3://raw": 0}, [{"secret": "s3cret!"}])
    driver.launch(attempt, step(sys.executable, "-c", program), Private(credentials=handed))
    finish(driver, attempt)
    assert list(driver.logs(attempt)) == ["True False"]
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or b"s3cret!" not in path.read_bytes()


def test_credentials_that_the_worker_was_handed_itself_are_not_passed_on(
    driver: LocalDriver, attempt: AttemptDirectory, step: Step, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLPIPE_CREDENTIALS_FD", "99")
    driver.launch(
        attempt, step(sys.executable, "-c", "import os; print('MLPIPE_CREDENTIALS_FD' in os.environ)")
    )
    finish(driver, attempt)
    assert list(driver.logs(attempt)) == ["False"]


def test_the_spec_is_for_its_owner_only(driver: LocalDriver, attempt: AttemptDirectory, step: Step) -> None:
    driver.launch(attempt, step("true"))
    assert stat.S_IMODE(attempt.spec_path.stat().st_mode) == 0o600
    assert attempt.read_spec() == step("true")


def test_airflows_settings_stay_with_the_worker(
    driver: LocalDriver, attempt: AttemptDirectory, step: Step, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "secret")
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", "postgres://user:secret@host")
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "client")
    monkeypatch.setenv("__AIRFLOW_SUPERVISOR_FD", "7")
    for name in [name for name in os.environ if name.startswith(("AIRFLOW_HOME", "AIRFLOW_CTX_"))]:
        monkeypatch.delenv(name)  # what steps do see
    monkeypatch.setenv("ORDINARY", "kept")
    code = "import os; print(sorted(name for name in os.environ if 'AIRFLOW_' in name or name == 'ORDINARY'))"
    driver.launch(attempt, step(sys.executable, "-c", code))
    finish(driver, attempt)
    assert list(driver.logs(attempt)) == ["['ORDINARY']"]


def test_the_users_python_path_comes_first(
    driver: LocalDriver, bundle: Path, attempt: AttemptDirectory, step: Step, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    driver.launch(attempt, step("sh", "-c", "echo $PYTHONPATH"))
    finish(driver, attempt)
    assert list(driver.logs(attempt)) == [f"/somewhere:{bundle}/fallback"]


def test_a_supervisor_that_was_killed_makes_the_attempt_lost(
    driver: LocalDriver, attempt: AttemptDirectory, step: Step
) -> None:
    driver.launch(attempt, step("sleep", "60"))
    kill_supervisor(driver, attempt)
    assert list(driver.logs(attempt)) == []
    with pytest.raises(InfrastructureError, match="it is lost: its supervisor was killed"):
        driver.result(attempt)


def test_a_lost_attempt_is_started_again_without_its_leftovers(
    driver: LocalDriver, attempt: AttemptDirectory, step: Step, go: Path, tmp_path: Path
) -> None:
    orphan = "setsid sh -c 'echo $$ > orphan; exec sleep 60' & sleep 60"
    driver.launch(attempt, step("sh", "-c", orphan))
    note = tmp_path / "orphan"
    wait_until(lambda: note.exists() and note.read_text())
    kill_supervisor(driver, attempt)
    go.touch()
    driver.launch(attempt, step("sh", "-c", UNTIL_GO))
    assert finish(driver, attempt).status == "succeeded"
    assert not psutil.pid_exists(int(note.read_text()))


def test_an_attempt_whose_process_id_was_given_away_is_lost(
    driver: LocalDriver, attempt: AttemptDirectory, step: Step
) -> None:
    driver.launch(attempt, step("sleep", "60"))
    beat = heartbeat(attempt)
    os.kill(beat["pid"], signal.SIGKILL)
    attempt.heartbeat_path.write_text(json.dumps({**beat, "pid": os.getpid()}))
    assert driver.status(attempt) == "lost"


@pytest.mark.parametrize(("age", "state"), [(29, "running"), (31, "lost")])
def test_on_another_host_a_fresh_heartbeat_is_a_sign_of_life(
    bundle: Path, attempt: AttemptDirectory, step: Step, age: int, state: str
) -> None:
    attempt.path.mkdir()
    attempt.write_spec(step("true"))
    beat = {"pid": 1, "started_at": "boot/1", "host": "elsewhere", "at": 1000.0}
    attempt.heartbeat_path.write_text(json.dumps(beat))
    assert LocalDriver(bundle, clock=lambda: 1000.0 + age).status(attempt) == state


def test_an_attempt_on_another_host_cannot_be_terminated_from_here(
    bundle: Path, attempt: AttemptDirectory, step: Step
) -> None:
    attempt.path.mkdir()
    attempt.write_spec(step("true"))
    beat = {"pid": 1, "started_at": "boot/1", "host": "elsewhere", "at": 1000.0}
    attempt.heartbeat_path.write_text(json.dumps(beat))
    with pytest.raises(InfrastructureError, match="runs on host 'elsewhere'"):
        LocalDriver(bundle, clock=lambda: 1001.0).terminate(attempt)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"pid": "x"}', "null"])
def test_a_heartbeat_that_cannot_be_read_is_none(
    driver: LocalDriver, attempt: AttemptDirectory, step: Step, content: str
) -> None:
    attempt.path.mkdir()
    attempt.write_spec(step("true"))
    attempt.heartbeat_path.write_text(content)
    assert driver.status(attempt) == "lost"


def test_terminating_ends_the_step_and_twice_is_fine(
    driver: LocalDriver, attempt: AttemptDirectory, step: Step
) -> None:
    driver.launch(attempt, step("sleep", "60"))
    driver.terminate(attempt)
    assert (driver.result(attempt).status, driver.result(attempt).exit_code) == ("terminated", -15)
    first = attempt.result_path.read_bytes()
    driver.terminate(attempt)
    assert attempt.result_path.read_bytes() == first


def test_terminating_what_ended_by_itself_changes_nothing(
    driver: LocalDriver, attempt: AttemptDirectory, step: Step
) -> None:
    driver.launch(attempt, step("true"))
    finish(driver, attempt)
    driver.terminate(attempt)
    assert driver.result(attempt).status == "succeeded"


def test_terminating_what_was_never_launched_does_nothing(
    driver: LocalDriver, attempt: AttemptDirectory
) -> None:
    driver.terminate(attempt)
    assert driver.status(attempt) == "unknown"


def test_a_lost_attempt_is_terminated_with_everything_it_started(
    driver: LocalDriver, attempt: AttemptDirectory, step: Step, tmp_path: Path
) -> None:
    driver.launch(attempt, step("sh", "-c", "setsid sh -c 'echo $$ > orphan; exec sleep 60' & sleep 60"))
    note = tmp_path / "orphan"
    wait_until(lambda: note.exists() and note.read_text())
    kill_supervisor(driver, attempt)
    driver.terminate(attempt)
    assert not psutil.pid_exists(int(note.read_text()))
    assert driver.result(attempt).status == "terminated"


def test_a_supervisor_that_does_not_react_is_killed(
    driver: LocalDriver, attempt: AttemptDirectory, step: Step
) -> None:
    driver.launch(attempt, step("sleep", "60", termination_grace_seconds=0.0))
    os.kill(heartbeat(attempt)["pid"], signal.SIGSTOP)
    driver.terminate(attempt)
    result = driver.result(attempt)
    assert (result.status, result.exit_code, result.attempt) == ("terminated", None, "attempt-1")
    assert driver.status(attempt) == "finished"


def test_a_running_attempt_has_no_result(driver: LocalDriver, attempt: AttemptDirectory, step: Step) -> None:
    driver.launch(attempt, step("sleep", "60"))
    with pytest.raises(InfrastructureError, match="it is running"):
        driver.result(attempt)


def test_a_result_of_another_schema_is_refused(
    driver: LocalDriver, attempt: AttemptDirectory, step: Step
) -> None:
    driver.launch(attempt, step("true"))
    finish(driver, attempt)
    attempt.result_path.write_text('{"schema_version": 2}')
    with pytest.raises(DocumentError, match="schema_version 2"):
        driver.result(attempt)


def test_a_supervisor_that_cannot_start_is_an_error_with_its_last_words(
    tmp_path: Path, attempt: AttemptDirectory, step: Step
) -> None:
    with pytest.raises(TargetError, match=r"(?s)ended with code 1.*No module named 'airflow_mlpipe'"):
        LocalDriver(tmp_path).launch(attempt, step("true"))


def test_a_missing_program_is_a_result_not_an_error(
    driver: LocalDriver, attempt: AttemptDirectory, step: Step
) -> None:
    driver.launch(attempt, step("no-such-program"))
    result = finish(driver, attempt)
    assert (result.status, result.exit_code) == ("failed", None)
    assert "'no-such-program'" in result.message
