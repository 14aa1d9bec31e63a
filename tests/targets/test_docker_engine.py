"""A Docker engine: what its containers may do, and whose failure it is when they cannot, or are lost."""

from __future__ import annotations

import http.server
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

from airflow_mlpipe.errors import InfrastructureError, StepError, TargetError, UserError
from airflow_mlpipe.model.docker_target import DockerTarget
from airflow_mlpipe.pipeline.compute.docker import docker_client
from airflow_mlpipe.records import LaunchSpec, Private, StepResult, to_json
from airflow_mlpipe.targets.contract import AttemptDirectory, Container, TargetDriver
from airflow_mlpipe.targets.docker import driver as driver_module
from airflow_mlpipe.targets.docker import engine as engine_module
from airflow_mlpipe.targets.docker import heir as heir_module
from airflow_mlpipe.targets.docker.container import container_name
from airflow_mlpipe.targets.docker.driver import DockerDriver
from airflow_mlpipe.targets.docker.engine_record import EngineRecord
from airflow_mlpipe.targets.heartbeat import FRESH_SECONDS
from airflow_mlpipe.targets.runtime_bundle import runtime_bundle
from tests.targets.docker_bench import CarriedDockerBench, Containers, DockerBench
from tests.targets.relay import Relay
from tests.targets.waiting import wait_until

UNTIL_GO = """
import os, pathlib, time
print("started", flush=True)
while not pathlib.Path(os.environ["GO"]).exists():
    time.sleep(0.02)
print("done")
"""

# Says that it was asked to end, and does not; os.write, because a print may be interrupted by the signal.
HEARING = f"""
import os, signal
signal.signal(signal.SIGTERM, lambda *_: os.write(1, b"asked to end\\n"))
{UNTIL_GO}
"""

# Prints 2000 lines, and waits in between.
PRINTING = """
import os, pathlib, time
for number in range(2000):
    print(number, flush=True)
    while number == 999 and not pathlib.Path(os.environ["GO"]).exists():
        time.sleep(0.02)
"""

# What a container's process is and has.
SELF = """
import getpass, json, os, pathlib
status = dict(line.split(":\\t") for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
shm = os.statvfs("/dev/shm")
pathlib.Path(os.environ["OUT"]).write_text("made")
pathlib.Path.home().joinpath("cache").write_text("")
print(json.dumps({
    "capabilities": int(status["CapBnd"], 16), "no new privileges": status["NoNewPrivs"],
    "user": [os.getuid(), os.getgid()], "name": getpass.getuser(),
    "shared memory": shm.f_blocks * shm.f_frsize,
}))
"""


@pytest.fixture
def bench(tmp_path: Path, bundle: Path, docker_host: str, image: str) -> Iterator[DockerBench]:
    """An engine that shares a folder with this machine; what it was made to run ends with the test."""
    tmp_path.chmod(0o777)
    bench = DockerBench(tmp_path, bundle, docker_host, image)
    yield bench
    _clear(bench)


@pytest.fixture
def elsewhere(
    tmp_path: Path, bundle: Path, docker_host: str, image: str
) -> Iterator[tuple[CarriedDockerBench, Relay]]:
    """An engine that is reached by the network only, and the wire to it."""
    tmp_path.chmod(0o777)
    with wire_to(docker_host) as relay:
        bench = CarriedDockerBench(tmp_path, bundle, address_of(relay), image)
        yield bench, relay
        bench.engine = Containers(docker_host)
        _clear(bench)


def script(bench: Any, code: str, **environment: str) -> tuple[AttemptDirectory, LaunchSpec]:
    """A new attempt that runs *code*; GO and OUT name files in the folder that it shares."""
    attempt = bench.attempt()
    variables = {"GO": str(bench.folder / "go"), "OUT": str(attempt.path / "outputs" / "made"), **environment}
    return attempt, bench.spec(attempt, "python3", "-c", code, environment=variables)


def finish(driver: TargetDriver, attempt: AttemptDirectory) -> StepResult:
    wait_until(lambda: driver.status(attempt) != "running")
    return driver.result(attempt)


def test_a_container_has_no_rights_that_its_target_does_not_ask_for_and_writes_as_its_user(
    elsewhere: tuple[CarriedDockerBench, Relay],
) -> None:
    bench, _ = elsewhere
    attempt, spec = script(bench, SELF)
    driver = bench.driver(user="1234:2345", shm_size="96m", cpus=0.5, memory="256m")
    driver.launch(attempt, spec, container=bench.container)
    assert finish(driver, attempt).status == "succeeded"
    assert json.loads(next(driver.logs(attempt))) == {
        "capabilities": 0,
        "no new privileges": "1",
        "user": [1234, 2345],
        "name": "mlpipe",
        "shared memory": 96 * 1024**2,
    }
    made = Path(spec.environment["OUT"]).stat()
    assert (made.st_uid, made.st_gid) == (1234, 2345)
    [container] = bench.engine.of(attempt)
    limits = bench.engine.client.inspect_container(container["Id"])["HostConfig"]
    assert (limits["NanoCpus"], limits["Memory"], limits["MemorySwap"]) == (5 * 10**8, 2**28, 2**28)
    assert not limits["Privileged"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another worker")
def test_what_a_step_writes_is_owned_by_the_worker_and_not_by_root(docker_host: str, image: str) -> None:
    # The temporary folders of pytest are closed to others; the engine's socket is as well, but not the wire.
    with tempfile.TemporaryDirectory() as name, wire_to(docker_host) as relay:
        folder = Path(name)
        os.chown(folder, 1234, 2345)
        if (worker := os.fork()) == 0:
            exit_code = 1
            try:
                os.setgroups([3456])
                os.setgid(2345)
                os.setuid(1234)
                bundle = runtime_bundle(folder / "cache")
                exit_code = be_a_worker(DockerBench(folder, bundle, address_of(relay), image))
            finally:
                os._exit(exit_code)  # whatever happened, this is no second run of the tests
        assert os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1]) == 0
        [made] = folder.glob("store/**/outputs/made")
        assert made.read_text() == "1234 2345 [2345, 3456]"
        records = [made, *made.parents[1].iterdir()]
        assert {(path.stat().st_uid, path.stat().st_gid) for path in records} == {(1234, 2345)}


def be_a_worker(bench: DockerBench) -> int:
    """Run a step that writes who it is to its output; 0 when it succeeded."""
    code = "import os; open(os.environ['OUT'], 'w').write(f'{os.getuid()} {os.getgid()} {os.getgroups()}')"
    attempt, spec = script(bench, code)
    driver = bench.driver()
    try:
        driver.launch(attempt, spec, Private({"TOKEN": "s3cret"}), bench.container)
        return 0 if finish(driver, attempt).status == "succeeded" else 1
    finally:
        driver.discard(attempt)


@pytest.mark.parametrize("placement", ["bench", "elsewhere"])
def test_what_is_secret_is_gone_from_the_container_once_the_step_runs(
    placement: str, request: pytest.FixtureRequest
) -> None:
    bench = request.getfixturevalue(placement)
    bench = bench[0] if placement == "elsewhere" else bench
    attempt, spec = script(bench, f"import os\nprint(len(os.environ['TOKEN']))\n{UNTIL_GO}")
    driver = bench.driver()
    driver.launch(attempt, spec, Private({"TOKEN": "s3cret"}), bench.container)
    lines = driver.logs(attempt)
    assert [next(lines), next(lines)] == ["6", "started"]
    [container] = bench.engine.of(attempt)
    written = bench.engine.client.diff(container["Id"])
    assert [entry["Path"] for entry in written if "private.json" in entry["Path"]] == []
    assert "s3cret" not in json.dumps(bench.engine.client.inspect_container(container["Id"]))
    Path(spec.environment["GO"]).touch()
    assert list(lines) == ["done"]


def test_names_that_are_not_nice_are_labels_as_they_are(bench: DockerBench) -> None:
    attempt, spec = script(bench, "print('ran')")
    hostile = "--privileged; $(id) `id` \"'\n=,{{.ID}} 漢字"
    driver = bench.driver()
    spec = replace(spec, run=replace(spec.run, dag_id=hostile, dag_run_id=hostile, task_id=hostile))
    driver.launch(attempt, spec, container=bench.container)
    assert finish(driver, attempt).status == "succeeded"
    [container] = bench.engine.of(attempt)
    assert [container["Labels"][f"mlpipe.{name}"] for name in ("dag_id", "run_id", "task_id")] == [
        hostile
    ] * 3


def test_a_step_that_needs_more_memory_than_its_limit_is_told_so(bench: DockerBench) -> None:
    attempt, spec = script(bench, "data = bytearray(200 * 2**20)")
    driver = bench.driver(memory="64m")
    driver.launch(attempt, spec, container=bench.container)
    result = finish(driver, attempt)
    assert (result.status, result.exit_code, result.out_of_memory) == ("failed", -signal.SIGKILL, True)
    assert result.message.endswith(("the memory limit of 64m was reached", "of 64 MiB was reached"))


def test_a_container_that_is_killed_or_removed_is_the_machines_failure(bench: DockerBench) -> None:
    attempt, spec = script(bench, UNTIL_GO)
    driver = bench.driver()
    driver.launch(attempt, spec, container=bench.container)
    assert next(driver.logs(attempt)) == "started"
    bench.engine.kill(attempt)
    wait_until(lambda: driver.status(attempt) == "lost")
    with pytest.raises(InfrastructureError, match=r"(?s)was killed from outside.*its last words:\nstarted"):
        driver.result(attempt)
    driver.discard(attempt)
    with pytest.raises(InfrastructureError, match="is gone and left no result"):
        driver.result(attempt)
    Path(spec.environment["GO"]).touch()
    driver.launch(attempt, spec, container=bench.container)
    assert finish(driver, attempt).status == "succeeded"


def test_an_attempt_outlives_the_worker_that_launched_it_and_the_next_one_joins_it(
    bench: DockerBench, docker_host: str
) -> None:
    attempt, spec = script(bench, UNTIL_GO)
    worker = worker_of(bench, docker_host, spec)
    wait_until(lambda: attempt.log_path.exists() and attempt.log_path.read_text())
    worker.kill()
    worker.communicate()
    driver = bench.driver()
    driver.launch(attempt, spec, container=bench.container)
    assert len(bench.engine.of(attempt)) == 1
    Path(spec.environment["GO"]).touch()
    assert list(driver.logs(attempt)) == ["started", "done"]
    assert driver.result(attempt).status == "succeeded"


def test_a_launch_that_was_cut_off_before_the_start_is_made_again(
    bench: DockerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver_module, "CREATION_SECONDS", 0.2)
    attempt, spec = script(bench, "print('ran')")
    bench.engine.client.create_container(
        bench.container.image,
        "true",
        name=container_name(attempt.attempt),
        labels={"mlpipe.attempt": attempt.attempt},
    )
    attempt.write_spec(spec)
    driver = bench.driver()
    assert driver.status(attempt) == "lost"
    driver.launch(attempt, spec, container=bench.container)
    assert finish(driver, attempt).status == "succeeded"


def test_a_container_that_another_launch_starts_between_two_looks_at_it_is_left_alone(
    bench: DockerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt, spec = script(bench, UNTIL_GO)
    one, other = bench.driver(), bench.driver()
    monkeypatch.setattr(one, "_start", lambda container, archive: None)  # it is about to
    one.launch(attempt, spec, container=bench.container)
    [container] = bench.engine.of(attempt)
    states: list[str] = []

    def status(of: AttemptDirectory) -> str:
        states.append(DockerDriver.status(other, of))
        if len(states) == 2:
            bench.engine.client.start(container["Id"])
        return states[-1]

    monkeypatch.setattr(other, "status", status)
    other.launch(attempt, spec, container=bench.container)
    assert [item["Id"] for item in bench.engine.of(attempt)] == [container["Id"]]


@pytest.mark.parametrize("how", ["does not listen", "is paused"])
def test_a_container_that_does_not_end_when_asked_is_killed_after_its_grace(
    bench: DockerBench, how: str
) -> None:
    code = UNTIL_GO if how == "is paused" else f"import signal; signal.signal(15, signal.SIG_IGN)\n{UNTIL_GO}"
    attempt, spec = script(bench, code)
    driver = bench.driver()
    driver.launch(attempt, replace(spec, termination_grace_seconds=0.5), container=bench.container)
    assert next(driver.logs(attempt)) == "started"
    [container] = bench.engine.of(attempt)
    if how == "is paused":
        bench.engine.client.pause(container["Id"])
    driver.terminate(attempt)
    assert driver.result(attempt).status == "terminated"
    wait_until(lambda: not bench.engine.client.inspect_container(container["Id"])["State"]["Running"])


def test_the_end_of_a_container_is_finished_for_a_worker_that_is_killed_meanwhile(
    bench: DockerBench, docker_host: str
) -> None:
    """As Airflow kills the task of a step that was marked and needs long to end."""
    attempt, spec = script(bench, HEARING)
    worker = worker_of(bench, docker_host, replace(spec, termination_grace_seconds=600.0))
    wait_until(lambda: attempt.log_path.exists() and attempt.log_path.read_text())
    [container] = bench.engine.of(attempt)
    worker.terminate()
    wait_until(lambda: has_heir(container["Id"]))
    worker.kill()
    worker.communicate()
    wait_until(lambda: "asked to end" in attempt.log_path.read_text())
    Path(spec.environment["GO"]).touch()
    wait_until(lambda: bench.engine.of(attempt) == [])
    assert attempt.read_result().status == "terminated"
    wait_until(lambda: not has_heir(container["Id"]))


def test_a_container_that_another_workers_engine_runs_is_watched_and_not_terminated_from_here(
    bench: DockerBench,
) -> None:
    attempt, spec = script(bench, UNTIL_GO)
    driver = bench.driver()
    driver.launch(attempt, spec, container=bench.container)
    assert next(driver.logs(attempt)) == "started"
    wait_until(attempt.heartbeat_path.exists)
    bench.engine.client.rename(bench.engine.of(attempt)[0]["Id"], container_name(f"not-{attempt.attempt}"))
    assert driver.status(attempt) == "lost"
    EngineRecord("another", "worker-2").write(attempt)
    assert driver.status(attempt) == "running"
    driver.launch(attempt, spec, container=bench.container)
    assert len(bench.engine.of(attempt)) == 1
    with pytest.raises(InfrastructureError, match=r"of worker-2 .*; end it there: docker stop mlpipe-"):
        driver.terminate(attempt)
    bench.engine.remove(attempt)
    beat = json.loads(attempt.heartbeat_path.read_text())
    attempt.heartbeat_path.write_text(json.dumps({**beat, "at": beat["at"] - FRESH_SECONDS}))
    assert driver.status(attempt) == "lost"
    with pytest.raises(InfrastructureError, match="on worker-2 gives no sign of life"):
        driver.result(attempt)


@pytest.mark.parametrize(
    ("fields", "reference", "sentence"),
    [
        ({}, f"sha256:{'0' * 64}", "has no image sha256:000"),
        ({"python": "python9"}, None, "python9.*use one with Python 3.10 or newer"),
        ({"cpus": 1000}, None, "CPUs.*; correct compute target"),
        ({"gpus": 1}, None, "install the NVIDIA Container Toolkit"),
        ({"network": "h1-nowhere"}, None, "h1-nowhere not found; make it there"),
        ({"host_config": {"CapAdd": ["ANYTHING"]}}, None, "ANYTHING.*; correct compute target"),
        ({"volumes": ("/no/such/folder:/data",)}, None, "/no/such/folder; when .* set shares_disk=False"),
    ],
)
def test_what_the_engine_cannot_do_is_said_and_leaves_no_container(
    bench: DockerBench, fields: dict[str, Any], reference: str | None, sentence: str
) -> None:
    attempt, spec = script(bench, "print('ran')")
    container = Container(reference or bench.container.image, bench.container.mounts)
    with pytest.raises(StepError, match=sentence) as refused:
        bench.driver(**fields).launch(attempt, spec, container=container)
    assert isinstance(refused.value, TargetError)
    assert bench.engine.of(attempt) == []


def test_an_image_that_nobody_has_is_the_targets_failure(bench: DockerBench) -> None:
    attempt, spec = script(bench, "print('ran')")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), EmptyRegistry) as registry:
        threading.Thread(target=registry.serve_forever, daemon=True).start()
        reference = f"127.0.0.1:{registry.server_port}/nobody/has-this:1"
        with pytest.raises(TargetError, match=f"(?s){reference} cannot be fetched; see that .*not found"):
            bench.driver().launch(attempt, spec, container=Container(reference))
        registry.shutdown()
    assert bench.driver().status(attempt) == "unknown"


def test_a_registry_that_does_not_answer_is_told_with_the_image_that_was_wanted(bench: DockerBench) -> None:
    attempt, spec = script(bench, "print('ran')")
    reference = "127.0.0.1:1/nobody/has-this:1"
    with pytest.raises(InfrastructureError, match=f"{reference} cannot be fetched; see that .*refused"):
        bench.driver().launch(attempt, spec, container=Container(reference))


def test_a_container_that_does_not_find_the_workers_folders_is_the_targets_failure(
    bench: DockerBench,
) -> None:
    attempt, spec = script(bench, "print('ran')")
    driver = bench.driver()
    driver.launch(attempt, spec, container=Container(bench.container.image))
    assert list(driver.logs(attempt)) == []
    with pytest.raises(TargetError, match=r"(?s)shares_disk=False.*cannot read the launch spec"):
        driver.result(attempt)


def test_a_supervisor_that_the_kernel_ends_for_want_of_memory_is_the_users_failure(
    bench: DockerBench,
) -> None:
    attempt, spec = script(bench, "print('ran')", MORE_THAN_THE_LIMIT="x" * 2**26)
    driver = bench.driver(memory="32m")
    driver.launch(attempt, spec, container=bench.container)
    with pytest.raises(UserError, match="its limit of 32m was reached"):
        finish(driver, attempt)


def test_a_broken_wire_to_an_engine_elsewhere_costs_neither_the_step_nor_a_line(
    elsewhere: tuple[CarriedDockerBench, Relay],
) -> None:
    bench, relay = elsewhere
    attempt, spec = script(bench, PRINTING)
    driver = bench.driver()
    driver.launch(attempt, spec, Private({"TOKEN": "s3cret"}), bench.container)
    lines = []
    for line in driver.logs(attempt):
        lines.append(line)
        if line == "999":
            relay.cut()
            threading.Timer(1.5, relay.mend).start()
            Path(spec.environment["GO"]).touch()
    assert lines == [str(number) for number in range(2000)]
    assert driver.result(attempt).status == "succeeded"


def test_a_stream_that_outlasts_its_container_is_closed(
    bench: DockerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "WATCH_SECONDS", 0.2)
    attempt, spec = script(bench, UNTIL_GO)
    bench.driver().launch(attempt, spec, container=bench.container)
    # Another container has ended, and the engine goes on streaming as if it had not.
    gone = engine_module.EngineContainer("0" * 64, "running", 0, out_of_memory=False, stop_seconds=1)
    stream = bench.engine.client.logs(bench.engine.of(attempt)[0]["Id"], stream=True, follow=True)
    with engine_module.Engine(bench.engine.client)._ending(stream, with_the=gone):
        assert list(stream) == []


def test_an_engine_that_stays_silent_is_given_up(
    elsewhere: tuple[CarriedDockerBench, Relay], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver_module, "SILENCE_SECONDS", 0.1)
    bench, relay = elsewhere
    attempt, spec = script(bench, UNTIL_GO)
    driver = bench.driver()
    driver.launch(attempt, spec, container=bench.container)
    lines = driver.logs(attempt)
    assert next(lines) == "started"
    relay.cut()
    with pytest.raises(InfrastructureError, match="does not answer"):
        list(lines)
    driver.discard(attempt)  # says that it could not, and fails nothing


def test_a_folder_as_datastore_is_refused_by_an_engine_that_does_not_show_it(
    elsewhere: tuple[CarriedDockerBench, Relay],
) -> None:
    bench, _ = elsewhere
    attempt, spec = script(bench, "print('ran')")
    for volumes in ((), (f"{bench.folder}:/data",), (f"{bench.folder}:{bench.folder}:ro",)):
        with pytest.raises(TargetError, match="use an object store as datastore, or show"):
            bench.driver(volumes=volumes).launch(attempt, spec, container=bench.container)


def test_an_idle_connection_to_an_engine_elsewhere_is_kept_alive_so_that_a_dead_one_breaks(
    elsewhere: tuple[CarriedDockerBench, Relay],
) -> None:
    _, relay = elsewhere
    client = docker_client(DockerTarget(docker_url=address_of(relay)))
    client.ping()
    port = f"{relay.port:04X}"
    connections = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    timers = [fields[5] for fields in connections if fields[2].endswith(f":{port}")]
    assert any(timer.startswith("02:") for timer in timers), "02 is the timer of keep-alive"


@pytest.mark.parametrize("address", ["unix:///no/such.sock", "tcp://127.0.0.1:1"])
def test_an_engine_that_nobody_finds_is_the_machines_failure(address: str) -> None:
    with pytest.raises(InfrastructureError, match=f"does not answer at {address}"):
        docker_client(DockerTarget(docker_url=address))


def test_an_engine_without_the_keys_that_were_promised_is_the_targets_failure(tmp_path: Path) -> None:
    target = DockerTarget(docker_url="tcp://127.0.0.1:1", tls_directory=str(tmp_path))
    with pytest.raises(TargetError, match=r"does not hold ca\.pem"):
        docker_client(target)


WORKER = """
import signal, sys
from pathlib import Path
from airflow_mlpipe.model.docker_target import DockerTarget
from airflow_mlpipe.records import LaunchSpec, from_json
from airflow_mlpipe.targets.contract import AttemptDirectory, Container, Mount
from tests.targets.docker_bench import Containers

host, bundle, spec, folder, image = sys.argv[1:]
spec = from_json(LaunchSpec, Path(spec).read_text())
driver = Containers(host).driver(DockerTarget(), Path(bundle))
attempt = AttemptDirectory(Path(spec.directory), spec.attempt)


signal.signal(signal.SIGTERM, lambda *_: driver.terminate(attempt))
driver.launch(attempt, spec, container=Container(image, (Mount(Path(folder), writable=True),)))
list(driver.logs(attempt))
"""


def worker_of(bench: DockerBench, docker_host: str, spec: LaunchSpec) -> subprocess.Popen[bytes]:
    """Another process that launches *spec* and follows it, until it is asked to end it."""
    given = bench.folder / "given.json"
    given.write_text(to_json(spec))
    assert bench.container is not None
    arguments = [docker_host, bench.bundle, given, bench.folder, bench.container.image]
    return subprocess.Popen([sys.executable, "-c", WORKER, *map(str, arguments)])


def has_heir(container: str) -> bool:
    """Whether a process is there that ends *container* for a worker which is killed."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.cmdline()[-2:] == [heir_module.__name__, container]:
                return True
    return False


class EmptyRegistry(http.server.BaseHTTPRequestHandler):
    """A registry of images that has none."""

    def do_GET(self) -> None:
        is_greeting = self.path == "/v2/"
        body = json.dumps(
            {} if is_greeting else {"errors": [{"code": "MANIFEST_UNKNOWN", "message": "none"}]}
        ).encode()
        self.send_response(200 if is_greeting else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def wire_to(docker_host: str) -> Iterator[Relay]:
    """A relay to the engine at *docker_host*."""
    parts = urlsplit(docker_host)
    relay = Relay(parts.path if parts.scheme == "unix" else (str(parts.hostname), parts.port or 2375))
    try:
        yield relay
    finally:
        relay.close()


def address_of(relay: Relay) -> str:
    return f"tcp://127.0.0.1:{relay.port}"


def _clear(bench: DockerBench | CarriedDockerBench) -> None:
    for attempt in (bench.folder / "store").glob("**/attempts/*"):
        bench.engine.remove(AttemptDirectory(attempt, attempt.name))
