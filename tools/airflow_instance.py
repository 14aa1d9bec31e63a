"""A whole Airflow on this machine: started, used and stopped by one process, leaving nothing behind."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from tools.airflow_api import AirflowApi, AirflowRequestError, Document
from tools.airflow_processes import (
    COMPONENT_LOGS,
    Component,
    airflow_command,
    end_processes_of,
    last_lines,
)
from tools.console import say

COMPONENTS = ("scheduler", "api-server", "dag-processor", "triggerer")
# Component: its key in the health document, and there the key of its heartbeat.
HEARTBEATS = {
    "scheduler": ("scheduler", "latest_scheduler_heartbeat"),
    "dag-processor": ("dag_processor", "latest_dag_processor_heartbeat"),
    "triggerer": ("triggerer", "latest_triggerer_heartbeat"),
}
START_SECONDS = 240.0
STOP_SECONDS = 8.0  # nothing that runs is worth waiting for
RESTART_SECONDS = 20.0  # a scheduler waits for its running tasks


class AirflowStartError(Exception):
    """Airflow did not start, or one of its components ended by itself."""


# What the methods of AirflowInstance raise, for programs that turn it into a sentence.
AIRFLOW_ERRORS = (AirflowStartError, AirflowRequestError, ImportError, OSError)


class AirflowInstance(AirflowApi):
    """An Airflow with SQLite and LocalExecutor in the folder *home*, its DAGs in *dags_folder*.

    A context manager: inside, all four components are healthy and the methods of
    :class:`~tools.airflow_api.AirflowApi` act as ``admin``; afterwards no process of it is left, whether the
    block ended, raised, or the caller got Ctrl-C or SIGTERM. One instance a home: starting ends what an
    earlier one, killed before it could clean up, left running there.

    *settings* are further environment variables, such as ``AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE``; they win.
    The caller's own ``AIRFLOW*`` variables do not reach the instance. *idle_sleep* is how long, in seconds,
    the scheduler rests between looks (None: Airflow's own default of 1). *port* 0 takes a free one.
    """

    username = "admin"

    def __init__(
        self,
        home: Path,
        dags_folder: Path,
        *,
        settings: Mapping[str, str] | None = None,
        idle_sleep: float | None = 0.1,
        host: str = "127.0.0.1",
        port: int = 0,
        progress: Callable[[str], None] = say,
    ) -> None:
        self.home = Path(home).resolve()
        self.dags_folder = Path(dags_folder).resolve()
        self.logs_folder = self.home / COMPONENT_LOGS
        self.port, *log_ports = _free_ports(host, port, 0, 0)
        super().__init__(f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{self.port}", progress)
        self.environment = {
            **_inherited_environment(),
            **self._settings(host, log_ports, idle_sleep),
            **(settings or {}),
        }
        self._components = {
            name: Component(name, self.environment, self.logs_folder / f"{name}.log") for name in COMPONENTS
        }
        self._previous_handler: Any = None

    @property
    def password(self) -> str:
        """The generated password of ``admin``, known once the API server has started."""
        return self.password_of(self.username)

    def password_of(self, username: str) -> str:
        """The generated password of a user named in *settings*, known once the API server has started."""
        passwords: dict[str, str] = json.loads(self._password_file.read_text())
        return passwords[username]

    def __enter__(self) -> AirflowInstance:
        if threading.current_thread() is threading.main_thread():
            self._previous_handler = signal.signal(signal.SIGTERM, _exit_on_signal)
        try:
            self.start()
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()

    def start(self) -> None:
        """Start everything and return when all of it is healthy. Raises AirflowStartError, TimeoutError."""
        end_processes_of(self.home, grace=0)
        self.logs_folder.mkdir(parents=True, exist_ok=True)
        self.dags_folder.mkdir(parents=True, exist_ok=True)
        began = time.monotonic()
        self.progress(f"starting Airflow in {_short(self.home)} (half a minute on two slow cores)")
        self._migrate()
        for component in self._components.values():
            component.start()
        self._wait_until_healthy()
        self.log_in(self.username, self.password)
        self.progress(f"Airflow is up at {self.url} after {time.monotonic() - began:.0f} s")

    def stop(self) -> None:
        """End every process of this Airflow, the steps it runs included. Stopping twice is fine."""
        with _signals_held():
            for component in self._components.values():
                with contextlib.suppress(RuntimeError):
                    component.send(signal.SIGTERM)
            end_processes_of(self.home, grace=STOP_SECONDS)
            for component in self._components.values():
                component.stop(grace=0)

    def restart(self, name: str) -> None:
        """Stop a component and its children, start it again, and return when Airflow is healthy."""
        self._component(name).stop(grace=RESTART_SECONDS)
        self._component(name).start()
        self._wait_until_healthy()

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        """Send a signal to the component's own process; the children see what a crash lets them see."""
        self._component(name).send(number)

    def pid(self, name: str) -> int:
        """The process id of a component."""
        return self._component(name).pid

    def wait_for_dag(self, dag_id: str, timeout: float = 60.0) -> Document:
        """The DAG as the API describes it, once Airflow has read its file *as the file is now*, unpaused.

        Raises ImportError with Airflow's words as soon as a file that mentions the DAG cannot be imported,
        and TimeoutError, with every import error there is, after *timeout* seconds.
        """

        def read_anew() -> Document | None:
            for error in self._import_errors():
                if dag_id in error["text"]:
                    raise ImportError(f"Airflow cannot import {error['filename']}:\n{error['stack_trace']}")
            found = self.request("GET", f"/api/v2/dags?dag_id_pattern={dag_id}&exclude_stale=true")["dags"]
            return next((dag for dag in found if dag["dag_id"] == dag_id and _is_current(dag)), None)

        def awaited() -> str:
            traces = [f"\n{error['filename']}:\n{error['stack_trace']}" for error in self._import_errors()]
            return (
                f"DAG {dag_id} to be read from {self.dags_folder}; import errors: {''.join(traces) or 'none'}"
            )

        dag = self.wait_until(read_anew, awaited, timeout)
        if dag["is_paused"]:
            self.unpause(dag_id)
        return dag

    def check(self) -> None:
        """Raise AirflowStartError when a component ended that nobody asked to end."""
        for component in self._components.values():
            if death := component.death():
                raise AirflowStartError(death)

    @property
    def _password_file(self) -> Path:
        return self.home / "simple_auth_manager_passwords.json"

    def _settings(self, host: str, log_ports: list[int], idle_sleep: float | None) -> dict[str, str]:
        worker_logs, trigger_logs = log_ports
        settings = {
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(64),
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__API__HOST": host,
            "AIRFLOW__API__PORT": str(self.port),
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.dags_folder),
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL": "0",
            "AIRFLOW__CORE__PARALLELISM": "4",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(self._password_file),
            "AIRFLOW__DAG_PROCESSOR__BUNDLE_REFRESH_CHECK_INTERVAL": "1",
            # Airflow rereads an edited file at once, but misses an edit made while it was reading the file.
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "5",
            "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "1",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{self.home}/airflow.db",
            "AIRFLOW__LOGGING__COLORED_CONSOLE_LOG": "False",
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(trigger_logs),
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(worker_logs),
            "AIRFLOW__SCHEDULER__ENABLE_HEALTH_CHECK": "False",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        }
        if idle_sleep is not None:
            settings["AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME"] = str(idle_sleep)
        return settings

    def _component(self, name: str) -> Component:
        if name not in self._components:
            raise ValueError(f"no component {name!r}; there are {', '.join(COMPONENTS)}")
        return self._components[name]

    def _migrate(self) -> None:
        # The file must exist before the components do: several of them would generate a password each.
        if not self._password_file.exists():
            self._password_file.touch(mode=0o600)
            self._password_file.write_text(json.dumps({self.username: secrets.token_urlsafe(12)}))
        log_path = self.logs_folder / "migrate.log"
        with log_path.open("wb") as log:
            done = subprocess.run(
                airflow_command("db", "migrate"),
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                check=False,
            )
        if done.returncode != 0:
            raise AirflowStartError(
                f"airflow db migrate ended with exit code {done.returncode}. Its log {log_path} ends with:\n"
                f"{last_lines(log_path)}"
            )

    def _wait_until_healthy(self) -> None:
        missing: list[str] = []

        def healthy() -> bool | None:
            now_missing = self._unhealthy()
            if now_missing != missing:
                missing[:] = now_missing
                if missing:
                    self.progress(f"  waiting for {', '.join(missing)}")
            return None if missing else True

        self.wait_until(
            healthy, lambda: f"{', '.join(missing)}; see the logs in {self.logs_folder}", START_SECONDS
        )

    def _unhealthy(self) -> list[str]:
        """The components that have given no sign of life since they were started."""
        try:
            health = self.request("GET", "/api/v2/monitor/health")
            # The first request builds the versioned app of the tasks' API, which takes seconds: now, so that
            # the first task need not wait for it.
            self.request("GET", "/execution/health")
        except OSError:
            return ["api-server"]
        return [
            name
            for name, (key, heartbeat) in HEARTBEATS.items()
            if health[key]["status"] != "healthy"
            or _epoch(health[key][heartbeat]) < self._components[name].started_at
        ]

    def _import_errors(self) -> list[Document]:
        """Import errors of the files as they are now, each with the file's present ``text``."""
        current = []
        for error in self._pages("/api/v2/importErrors", "import_errors"):
            path = self.dags_folder / error["filename"]
            with contextlib.suppress(FileNotFoundError):
                if _epoch(error["timestamp"]) >= path.stat().st_mtime:
                    current.append({**error, "text": path.read_text(errors="replace")})
        return current

    def _leave(self) -> None:
        try:
            self.stop()
        finally:
            if self._previous_handler is not None:
                signal.signal(signal.SIGTERM, self._previous_handler)
                self._previous_handler = None


def _exit_on_signal(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


@contextlib.contextmanager
def _signals_held() -> Iterator[None]:
    """Nothing interrupts the block; for an impatient second Ctrl-C would leave processes behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _inherited_environment() -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    # What activating the virtual environment does: tasks find its commands.
    return {**inherited, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{inherited.get('PATH', '')}"}


def _free_ports(host: str, *wanted: int) -> list[int]:
    """A port for each one *wanted*, 0 for any free one; all different, free at the time of looking."""
    with contextlib.ExitStack() as stack:
        ports = []
        for port in wanted:
            listener = stack.enter_context(socket.socket())
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((host, port))
            except OSError as error:
                raise AirflowStartError(
                    f"port {port} of {host} is taken: {error}; name another one, or 0 for any free one"
                ) from error
            ports.append(listener.getsockname()[1])
        return ports


def _is_current(dag: Document) -> bool:
    """Whether the reading of the DAG's file that Airflow knows of began after the file's last change."""
    if dag["last_parsed_time"] is None:
        return False
    took = timedelta(seconds=dag["last_parse_duration"] or 0)
    return (_time(dag["last_parsed_time"]) - took).timestamp() >= Path(dag["fileloc"]).stat().st_mtime


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def _epoch(text: str | None) -> float:
    return _time(text).timestamp() if text else 0.0


def _short(path: Path) -> str:
    with contextlib.suppress(ValueError):
        return str(path.relative_to(Path.cwd()))
    return str(path)
