"""A machine that is reached by SSH: what it is asked, and what happens when it cannot be reached or used."""

from __future__ import annotations

import json
import logging
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mlpipe.errors import DefinitionError, InfrastructureError, TargetError
from airflow_mlpipe.model.environment import Environment
from airflow_mlpipe.model.remote_target import RemoteTarget
from airflow_mlpipe.reuse.source import Code
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.targets.attempt_records import AttemptRecords
from airflow_mlpipe.targets.contract import AttemptDirectory
from airflow_mlpipe.targets.python_path import PythonPath
from tests.sshd import SSHD, SshServer, running_sshd
from tests.targets.waiting import wait_until

if TYPE_CHECKING:
    from airflow_mlpipe.targets.remote.machine import Machine

pytestmark = pytest.mark.skipif(SSHD is None, reason="sshd is not installed")

PRINTING = """
import pathlib, sys, time
go = pathlib.Path(sys.argv[1])
for number in range(2000):
    print(number, flush=True)
    while number == 999 and not go.exists():
        time.sleep(0.01)
"""

# A worker that asks for the end of an attempt, which takes a while.
ENDING = """
import sys
import paramiko
from airflow_mlpipe.targets.remote.machine import Machine

user, key, port, folder = sys.argv[1:]


def connect():
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
    client.connect("127.0.0.1", int(port), user, key_filename=key, allow_agent=False, look_for_keys=False)
    return client


machine = Machine(connect, name="the box", python=sys.executable, patience=60.0)
machine.ask("attempts", {"verb": "end", "folder": folder, "seconds": 600.0})
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    with running_sshd(tmp_path_factory.mktemp("sshd")) as server:
        yield server


@pytest.fixture
def machines(server: SshServer) -> Iterator[Callable[..., Machine]]:
    """Makes machines that are this one; their connections end with the test."""
    from airflow_mlpipe.targets.remote.machine import Machine

    made = []

    def make(
        connect: Callable[[], Any] = server.connect, python: str = sys.executable, **options: Any
    ) -> Machine:
        options = {"patience": 60.0, **options}
        made.append(Machine(connect, name="the box", python=python, **options))
        return made[-1]

    yield make
    for machine in made:
        machine.close()


def start(machine: Machine, folder: Path | str, *command: str, body: bytes = b"") -> dict[str, Any]:
    request = {
        "verb": "start",
        "folder": str(folder),
        "files": {"private.json": len(body)},
        "command": command,
    }
    return machine.ask("attempts", request, body)


def look(machine: Machine, folder: Path) -> str:
    return str(machine.ask("attempts", {"verb": "look", "folder": str(folder)})["state"])


def end(machine: Machine, folder: Path, seconds: float = 5.0) -> dict[str, Any]:
    return machine.ask("attempts", {"verb": "end", "folder": str(folder), "seconds": seconds})


def test_a_connection_that_is_lost_costs_neither_the_process_nor_a_byte_of_its_log(
    server: SshServer, machines: Callable[..., Machine], tmp_path: Path
) -> None:
    machine, go, folder = machines(), tmp_path / "go", tmp_path / "attempt"
    start(machine, folder, sys.executable, "-c", PRINTING, str(go))
    received = b""
    for chunk in machine.follow("attempts", str(folder), 0):
        received += chunk
        if received.endswith(b"\n999\n") and not go.exists():
            server.stop()
            returning = threading.Timer(1.0, server.start)
            returning.start()
            go.touch()
    returning.join()
    assert received.decode().split() == [str(number) for number in range(2000)]
    assert look(machine, folder) == "over"


def test_a_machine_is_reached_while_the_log_is_held_as_by_a_line_that_a_signal_interrupted(
    machines: Callable[..., Machine], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.INFO)  # that of Airflow
    answers: list[str] = []

    def look_with_the_log_held() -> None:
        with caplog.handler.lock or nullcontext():
            answers.append(look(machines(), tmp_path / "none"))

    looking = threading.Thread(target=look_with_the_log_held, daemon=True)
    looking.start()
    looking.join(30)
    assert answers == ["unknown"]


def test_a_machine_that_stays_away_is_given_up_after_the_patience_with_it(
    server: SshServer, machines: Callable[..., Machine], tmp_path: Path
) -> None:
    now = [0.0]
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        now[0] += seconds

    machine = machines(patience=100.0, clock=lambda: now[0], wait=wait)
    assert look(machine, tmp_path / "attempt") == "unknown"
    server.stop()
    try:
        with pytest.raises(
            InfrastructureError, match=r"the box .* was tried again for 100 s; check the network"
        ):
            look(machine, tmp_path / "attempt")
    finally:
        server.start()
    assert waits[:6] == [0.5, 1, 2, 4, 8, 15]
    assert 85 < sum(waits) <= 100
    assert look(machine, tmp_path / "attempt") == "unknown"


def test_ending_spares_nobody_that_the_attempt_started_and_twice_is_fine(
    machines: Callable[..., Machine], tmp_path: Path
) -> None:
    """Not even who ignores SIGTERM in a session of his own."""
    stubborn = "trap '' TERM; setsid sleep 321 & echo $! > child; wait; sleep 321"
    machine, folder = machines(), tmp_path / "attempt"
    start(machine, folder, "sh", "-c", stubborn)
    wait_until(lambda: (folder / "child").exists() and (folder / "child").read_text().strip())
    child = int((folder / "child").read_text())
    assert end(machine, folder, seconds=0.2)["state"] == "over"
    wait_until(lambda: not Path(f"/proc/{child}").exists())
    assert not folder.exists()
    assert end(machine, folder)["state"] == "unknown"


def test_an_end_that_was_asked_for_needs_no_worker_any_more(
    server: SshServer, machines: Callable[..., Machine], tmp_path: Path
) -> None:
    """As Airflow kills the task of a step that was marked and needs long to end."""
    ready, told, go, folder = (tmp_path / name for name in ("ready", "told", "go", "attempt"))
    until_go = f"while ! [ -e '{go}' ]; do sleep 0.1; done"
    start(machines(), folder, "sh", "-c", f"trap 'touch \"{told}\"' TERM; touch '{ready}'; {until_go}")
    process = json.loads((folder / "process.json").read_text())["pid"]
    wait_until(ready.exists)
    login = [server.user, str(server.user_key), str(server.port)]
    worker = subprocess.Popen([sys.executable, "-c", ENDING, *login, str(folder)])
    wait_until(told.exists)
    worker.kill()
    worker.wait()
    assert Path(f"/proc/{process}").exists()
    go.touch()
    wait_until(lambda: not folder.exists() and not Path(f"/proc/{process}").exists())


def test_a_running_attempt_is_neither_started_again_nor_thrown_away(
    machines: Callable[..., Machine], tmp_path: Path
) -> None:
    machine, folder = machines(), tmp_path / "attempt"
    start(machine, folder, "sh", "-c", "echo once; exec sleep 321")
    wait_until((folder / "output.txt").read_bytes)
    process = (folder / "process.json").read_text()
    assert start(machines(), folder, "sh", "-c", "echo twice")["state"] == "running"
    assert (folder / "process.json").read_text() == process
    assert end(machine, folder)["last_lines"] == ["once"]


def test_what_stays_because_an_attempt_does_not_end_is_said(
    machines: Callable[..., Machine], tmp_path: Path
) -> None:
    from airflow_mlpipe.targets.remote.driver import RemoteDriver

    machine, folder = machines(), tmp_path / "train-1"
    target = RemoteTarget(ssh_conn_id="box", folder=str(tmp_path))
    records = AttemptRecords(Datastore.open(f"file://{tmp_path}/store"))
    driver = RemoteDriver(lambda: None, target, tmp_path, records, machine)
    attempt = AttemptDirectory(tmp_path / "here", folder.name)
    start(machine, folder, "sleep", "321")
    with pytest.raises(InfrastructureError, match=f"the folder {folder} stays on the machine of .*box"):
        driver.discard(attempt)
    assert folder.exists()
    end(machine, folder)
    driver.discard(attempt)
    assert not folder.exists()


def test_names_of_any_kind_are_names_to_the_shell_and_private_files_are_for_nobody_else(
    machines: Callable[..., Machine], tmp_path: Path
) -> None:
    name = "a b'\"; touch pwned; $(touch pwned) `touch pwned` 漢字 \\ & #"
    machine, folder = machines(), tmp_path / name / "attempt"
    start(machine, folder, "sh", "-c", 'printf %s "$1"', "sh", name, body=b"s3cret")
    wait_until(lambda: look(machine, folder) == "over")
    assert (folder / "output.txt").read_text() == name
    private = folder / "parcel" / "private.json"
    assert private.read_bytes() == b"s3cret"
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (folder, private.parent, private)]
    assert modes == [0o700, 0o700, 0o600]
    assert not list(Path.home().glob("pwned")) + list(tmp_path.rglob("pwned"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_somebody_else_is_refused(machines: Callable[..., Machine], tmp_path: Path) -> None:
    folder = tmp_path / "attempt"
    folder.mkdir()
    os.chown(folder, 12345, 12345)
    with pytest.raises(TargetError, match="belongs to somebody else"):
        start(machines(), folder, "true")


def test_an_interpreter_that_is_missing_or_too_old_is_named(
    machines: Callable[..., Machine], tmp_path: Path
) -> None:
    with pytest.raises(
        TargetError, match=r"'/no/python3' on the box cannot be started .*; install Python 3.10"
    ):
        look(machines(python="/no/python3"), tmp_path)
    old = tmp_path / "old python"
    pretend = "import sys; sys.version_info = (3, 9, 2); exec(sys.argv[1])"
    old.write_text(f"#!/bin/sh\nexec {sys.executable} -c '{pretend}' \"$5\"\n")
    old.chmod(0o755)
    with pytest.raises(
        TargetError, match=r"is Python 3.9, and a step needs 3.10 or newer; install one there"
    ):
        look(machines(python=str(old)), tmp_path)


def test_what_a_shell_says_at_its_start_is_no_answer(
    machines: Callable[..., Machine], tmp_path: Path
) -> None:
    talkative = tmp_path / "python"
    talkative.write_text(f'#!/bin/sh\necho "Welcome to the box"\nexec {sys.executable} "$@"\n')
    talkative.chmod(0o755)
    assert look(machines(python=str(talkative)), tmp_path / "attempt") == "unknown"


@pytest.fixture
def connection(server: SshServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """Sets the Airflow connection ``box`` to the server; the worker's home knows no host."""
    monkeypatch.setenv("HOME", str(tmp_path))

    def connect(key: Path = server.user_key, **extra: str) -> None:
        extra = {"key_file": str(key), "look_for_keys": "false", **extra}
        login = {"conn_type": "ssh", "host": "127.0.0.1", "login": server.user, "port": server.port}
        monkeypatch.setenv("AIRFLOW_CONN_BOX", json.dumps({**login, "extra": extra}))

    return connect


def asked(name: str, folder: str = "~/.mlpipe") -> str:
    """Where the machine of the connection ``box`` would keep an attempt; *name* keeps tests apart."""
    from airflow_mlpipe.pipeline.compute.remote import remote_root

    return str(remote_root(RemoteTarget(name, ssh_conn_id="box", folder=folder), "attempt"))


def test_a_connection_whose_host_key_is_known_leads_to_the_machine(
    server: SshServer, connection: Callable[..., None]
) -> None:
    connection(host_key=server.host_key)
    home = Path(f"~{server.user}").expanduser()
    assert asked("known") == f"{home}/.mlpipe/attempt"


def test_a_host_that_is_not_known_and_a_key_that_is_not_wanted_are_refused(
    server: SshServer, connection: Callable[..., None], tmp_path: Path
) -> None:
    import paramiko

    connection()
    with pytest.raises(TargetError, match=r"host key of .*'box' is not known .*known_hosts"):
        asked("unknown")
    other = paramiko.RSAKey.generate(2048)
    connection(host_key=f"{other.get_name()} {other.get_base64()}")
    with pytest.raises(TargetError, match="shows another host key"):
        asked("another")
    other.write_private_key_file(str(tmp_path / "other"))
    connection(tmp_path / "other", host_key=server.host_key)
    with pytest.raises(TargetError, match="does not let this worker in"):
        asked("stranger")


def test_a_connection_or_provider_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TargetError, match=r"'box' of compute target 'nowhere' .*; add a connection"):
        asked("nowhere")
    monkeypatch.setitem(sys.modules, "airflow.providers.ssh.hooks.ssh", None)
    with pytest.raises(TargetError, match=r"install airflow-mlpipe\[ssh\] on the workers"):
        asked("bare")


def test_all_that_is_installed_on_the_machine_counts_and_what_no_version_tells_is_said(
    machines: Callable[..., Machine], tmp_path: Path
) -> None:
    from airflow_mlpipe.targets.remote.environments import RemoteEnvironments

    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "env"], check=True)
    python = str(tmp_path / "env/bin/python")
    (site,) = (tmp_path / "env/lib").glob("python*/site-packages")
    environments = RemoteEnvironments(machines(python=python), python)

    def planned(*imported: str, path: str = "") -> tuple[dict[str, Any], tuple[str, ...]]:
        code = Code({}, "imports", imported)
        found = environments.plan(Environment(), code, PythonPath((path,) if path else ()), "sh")
        return found.document, found.undetermined

    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    document, undetermined = planned("json", "nothing_like_it")
    assert document.keys() == {"python", "distributions", "program"}
    assert (document["python"], document["distributions"], undetermined) == (version, {}, ())
    assert len(document["program"]["digest"]) == 64
    install(site, "Some.Thing", "1.2", "some_thing.py")
    assert planned("some_thing") == ({**document, "distributions": {"some-thing": "1.2"}}, ())
    assert "some_thing" in environments.modules(Environment(), PythonPath())
    (site / "by_hand.py").write_text("")
    assert planned("by_hand")[1][0].startswith(f"no version tells what by_hand holds at {site}/by_hand.py")
    assert planned(path="/opt/more")[1][0].startswith("PYTHONPATH names /opt/more")


def install(site: Path, name: str, version: str, module: str) -> None:
    """Put into *site* what an installer leaves of a distribution with one module."""
    folder = site / f"{name}-{version}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (folder / "RECORD").write_text(f"{module},,\n{folder.name}/METADATA,,\n")
    (site / module).write_text("")


def test_a_program_that_the_machine_does_not_have_is_named(machines: Callable[..., Machine]) -> None:
    from airflow_mlpipe.targets.remote.environments import RemoteEnvironments

    environments = RemoteEnvironments(machines(), sys.executable)
    with pytest.raises(TargetError, match="'no-such-program' is not on the PATH"):
        environments.plan(Environment(), Code({}, "imports", ()), PythonPath(), "no-such-program")


@pytest.mark.parametrize(
    ("fields", "mistake"),
    [
        ({}, "ssh_conn_id: Field required"),
        ({"ssh_conn_id": "box", "folder": "mlpipe"}, "is no folder for attempts: write an absolute path"),
        ({"ssh_conn_id": "box", "folder": "~/"}, "is no folder for attempts: write an absolute path"),
        ({"ssh_conn_id": "box", "folder": "/a\nb"}, "is no folder for attempts: write an absolute path"),
        ({"ssh_conn_id": "box", "python": "bin/python"}, "is no interpreter: write the name of"),
        ({"ssh_conn_id": "box", "python": "-c"}, "is no interpreter: write the name of"),
    ],
)
def test_a_mistake_in_the_target_is_a_sentence(fields: dict[str, Any], mistake: str) -> None:
    with pytest.raises(DefinitionError, match=mistake):
        RemoteTarget(**fields)
