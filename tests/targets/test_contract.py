"""What a target promises, asked of every one of them: real engines, real processes, and a fake.

Each target is asked the same, and the answers may not differ. An attempt takes seconds on some of them, so
what can be asked of one attempt is asked of one.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from airflow_mlpipe.errors import InfrastructureError
from airflow_mlpipe.records import HandedCredentials, LaunchSpec, Private, StepResult
from airflow_mlpipe.store.hashing import describe
from airflow_mlpipe.targets.contract import NOTHING_PRIVATE, AttemptDirectory, TargetDriver
from tests.engines import new_namespace
from tests.sshd import SSHD, running_sshd
from tests.targets.benches import RAW, Bench, FakeBench, LocalBench
from tests.targets.docker_bench import CarriedDockerBench, DockerBench
from tests.targets.kubernetes_bench import KubernetesBench
from tests.targets.remote_bench import RemoteBench
from tests.targets.waiting import wait_until

BENCHES = ["fake", "local", "docker", "remote docker", "kubernetes", "remote"]

SECRET = "s3cret-word-of-a-test"
CREDENTIALS = HandedCredentials({RAW: 0}, [{"key": SECRET[::-1]}])
ARGUMENTS = ["a b", 'quo"te', "it's", "two\nlines", "*", "$HOME", "`id`", "; exit 3", "{{ x }}", "", "漢字"]
LINES = 10_000

# Equal on every target, in every version of Python: what a step makes depends on nothing but its script.
MODEL_DIGEST = "042829c70ce52c96c3144413a93e98e575a238d9c5ddbfe42eaa7f4210b70f07"

# Everything that can be asked of an attempt that simply runs.
SCRIPT = """
import json, os, pathlib, sys
output, *arguments = sys.argv[1:]
model = pathlib.Path(output)
(model / "deep").mkdir(parents=True)
(model / "deep" / "grüße.txt").write_text("漢字\\n", "utf8")
(model / "empty").mkdir()
(model / "run.sh").write_bytes(b"exit\\n")
(model / "run.sh").chmod(0o755)
import a_module
handed = os.pread(int(os.environ["MLPIPE_CREDENTIALS_FD"]), 1_000, 0).decode()
known = {
    "arguments": arguments,
    "word": a_module.WORD,
    "secret": len(os.environ["TOKEN"]),
    "credentials": len(json.loads(handed)["options"][0]["key"]),
    "exposed": [name for name, value in os.environ.items() if "drow" in value],
}
print(json.dumps(known))
for number in range(int(os.environ["LINES"])):
    print("grüße", number)
print("no end of line", end="")
"""

UNTIL_GO = """
import os, pathlib, sys, time
print("started", flush=True)
while not pathlib.Path(os.environ["GO"]).exists():
    time.sleep(0.02)
sys.exit(int(os.environ["CODE"]))
"""


@dataclass
class Launch:
    """An attempt of a test, on a bench."""

    bench: Bench
    attempt: AttemptDirectory
    spec: LaunchSpec
    private: Private = NOTHING_PRIVATE

    def by(self, driver: TargetDriver) -> None:
        driver.launch(self.attempt, self.spec, self.private, self.bench.container)

    @property
    def go(self) -> Path:
        return Path(self.spec.environment["GO"])

    def finish(self, driver: TargetDriver) -> StepResult:
        wait_until(lambda: driver.status(self.attempt) != "running")
        driver.collect(self.attempt)
        return driver.result(self.attempt)


@pytest.fixture(scope="module", params=BENCHES)
def bench(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, bundle: Path
) -> Iterator[Bench]:
    """One target after the other."""
    folder = tmp_path_factory.mktemp("shared")
    folder.chmod(0o777)
    if request.param == "fake":
        yield FakeBench(folder)
    if request.param == "local":
        yield LocalBench(folder, bundle)
    if request.param in ("docker", "remote docker"):
        kind = DockerBench if request.param == "docker" else CarriedDockerBench
        address, image = map(request.getfixturevalue, ("docker_host", "image"))
        yield kind(folder, bundle, address, image)
    if request.param == "kubernetes":
        cluster = request.getfixturevalue("kubernetes")
        with new_namespace(cluster) as namespace:
            yield KubernetesBench(folder, bundle, cluster, namespace)
    if request.param == "remote":
        if SSHD is None:
            pytest.skip("sshd is not installed")
        with running_sshd(tmp_path_factory.mktemp("sshd")) as server:
            yield RemoteBench(folder, bundle, server, tmp_path_factory.mktemp("machine"))


@pytest.fixture(scope="module")
def done(bench: Bench) -> Iterator[Launch]:
    """An attempt of SCRIPT that has succeeded, and that nobody has changed since."""
    attempt = bench.attempt()
    environment = {"PYTHONUTF8": "1", "LINES": str(LINES), "PYTHONPATH": ""}
    output = str(attempt.path / "outputs" / "model")
    spec = bench.spec(attempt, "python3", "-c", SCRIPT, output, *ARGUMENTS, environment=environment)
    launch = Launch(bench, attempt, spec, Private({"TOKEN": SECRET}, CREDENTIALS))
    driver = bench.driver()
    try:
        launch.by(driver)
        result = launch.finish(driver)
        assert (result.status, result.exit_code) == ("succeeded", 0), result
        yield launch
    finally:
        driver.terminate(attempt)
        driver.discard(attempt)


@pytest.fixture
def waiting(bench: Bench) -> Iterator[Callable[..., Launch]]:
    """Makes attempts that wait for a word of the test; they end with the test."""
    made = []

    def make(code: int = 0) -> Launch:
        attempt = bench.attempt()
        go = bench.folder / f"go-{attempt.attempt}"
        environment = {"GO": str(go), "CODE": str(code)}
        spec = bench.spec(attempt, "python3", "-c", UNTIL_GO, environment=environment)
        made.append(Launch(bench, attempt, spec, Private({"TOKEN": SECRET})))
        return made[-1]

    yield make
    driver = bench.driver()
    for launch in made:
        driver.terminate(launch.attempt)
        driver.discard(launch.attempt)


def test_an_attempt_that_was_never_launched_is_unknown_and_stays_so(bench: Bench) -> None:
    driver, attempt = bench.driver(), bench.attempt()
    assert driver.status(attempt) == "unknown"
    assert list(driver.logs(attempt)) == []
    driver.terminate(attempt)
    driver.collect(attempt)
    driver.discard(attempt)
    assert driver.status(attempt) == "unknown"
    with pytest.raises(InfrastructureError):
        driver.result(attempt)


def test_the_log_has_every_line_once_from_the_start_and_from_any_byte(done: Launch) -> None:
    driver = done.bench.driver()
    lines = list(driver.logs(done.attempt))
    assert lines[1:-1] == [f"grüße {number}" for number in range(LINES)]
    assert lines[-1] == "no end of line"
    start = sum(len(f"{line}\n".encode()) for line in lines[:5_000])
    assert list(driver.logs(done.attempt, start)) == lines[5_000:]
    assert list(driver.logs(done.attempt, start + len("gr"))) == [lines[5_000][2:], *lines[5_001:]]


def test_arguments_arrive_as_they_are_and_code_and_secrets_with_them(done: Launch) -> None:
    known = json.loads(next(done.bench.driver().logs(done.attempt)))
    secrets = {"secret": len(SECRET), "credentials": len(SECRET), "exposed": []}
    assert known == {"arguments": ARGUMENTS, "word": "carried along", **secrets}


def test_the_same_script_makes_the_same_bytes_everywhere(done: Launch) -> None:
    assert describe(done.attempt.path / "outputs" / "model").digest == MODEL_DIGEST


def test_what_is_collected_says_what_was_launched_and_how_it_ended(done: Launch) -> None:
    done.bench.driver().collect(done.attempt)
    assert done.attempt.read_spec() == done.spec
    result = done.attempt.read_result()
    assert (result.attempt, result.status, result.exit_code) == (done.attempt.attempt, "succeeded", 0)
    assert result.started_at <= result.finished_at <= time.time()


def test_a_finished_attempt_is_not_started_again(done: Launch) -> None:
    driver = done.bench.driver()
    before = driver.result(done.attempt)
    done.by(driver)
    driver.terminate(done.attempt)
    assert driver.status(done.attempt) == "finished"
    assert driver.result(done.attempt) == before


def test_two_that_launch_at_once_and_a_third_that_joins_follow_one_attempt(
    bench: Bench, waiting: Callable[..., Launch]
) -> None:
    launch = waiting(code=3)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(launch.by, [bench.driver(), bench.driver()]))
    other = bench.driver()
    launch.by(other)
    assert other.status(launch.attempt) == "running"
    with pytest.raises(InfrastructureError, match="running"):
        other.result(launch.attempt)
    lines = other.logs(launch.attempt)
    assert next(lines) == "started"
    assert SECRET not in bench.shown(launch.attempt)
    launch.go.touch()
    assert list(lines) == []
    result = launch.finish(other)
    assert (result.status, result.exit_code) == ("failed", 3)
    assert list(bench.driver().logs(launch.attempt)) == ["started"]


def test_terminating_ends_the_step_and_twice_is_fine(bench: Bench, waiting: Callable[..., Launch]) -> None:
    driver, launch = bench.driver(), waiting()
    launch.by(driver)
    assert next(driver.logs(launch.attempt)) == "started"
    bench.driver().terminate(launch.attempt)
    assert driver.status(launch.attempt) == "finished"
    driver.collect(launch.attempt)
    first = driver.result(launch.attempt)
    assert first.status == "terminated"
    driver.terminate(launch.attempt)
    assert driver.result(launch.attempt) == first


def test_an_attempt_whose_machine_is_taken_away_is_lost(bench: Bench, waiting: Callable[..., Launch]) -> None:
    driver, launch = bench.driver(), waiting()
    launch.by(driver)
    lines = driver.logs(launch.attempt)
    assert next(lines) == "started"
    bench.destroy(launch.attempt)
    wait_until(lambda: bench.driver().status(launch.attempt) == "lost")
    assert list(lines) == []
    with pytest.raises(InfrastructureError):
        driver.result(launch.attempt)


def test_what_is_discarded_leaves_nothing_but_its_records_and_no_file_has_a_secret(
    bench: Bench, done: Launch
) -> None:
    driver = bench.driver()
    driver.discard(done.attempt)
    driver.discard(done.attempt)
    assert bench.kept(done.attempt) == []
    assert driver.status(done.attempt) == "finished"
    files = [path for path in bench.folder.rglob("*") if path.is_file()]
    assert files
    told = [path for path in files for secret in (SECRET, SECRET[::-1]) if secret.encode() in content(path)]
    assert told == []


def content(path: Path) -> bytes:
    """What is in a file; nothing when it is gone, such as that of an attempt which has not ended yet."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
