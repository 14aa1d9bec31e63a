"""A Docker engine as a place of containers: the few things that a driver does with them."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from docker import APIClient
from docker.errors import APIError, DockerException, NotFound
from requests.exceptions import RequestException
from urllib3.exceptions import HTTPError

from airflow_mlpipe.errors import InfrastructureError, StepError, TargetError
from airflow_mlpipe.targets.docker.engine_record import EngineRecord

CONFLICT = 409
WATCH_SECONDS = 3.0  # between two looks at a container whose output is followed

# Refusals that are about the engine's machine at the moment, and not about what was asked.
_PASSING = re.compile(
    r"no space left|cannot allocate memory|resource temporarily unavailable|timed? ?out|deadline exceeded"
    r"|connection (?:refused|reset)|shutting down",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class EngineContainer:
    """A container as the engine sees it.

    ``status`` is created, running, paused, restarting, removing, exited or dead. ``exit_code`` is that of
    its first process, 128 + N when signal N ended it. ``out_of_memory`` says that the kernel ended a process
    of it because its limit was reached. ``stop_seconds`` are left to it between SIGTERM and SIGKILL.
    """

    id: str
    status: str
    exit_code: int
    out_of_memory: bool
    stop_seconds: int

    @property
    def is_alive(self) -> bool:
        return self.status in ("running", "paused", "restarting")


class Engine:
    """Containers by their names or ids.

    Every method raises InfrastructureError when the engine does not answer or is in trouble itself, and
    TargetError when it refuses what it is asked.
    """

    def __init__(self, client: APIClient) -> None:
        self._client = client

    def record(self) -> EngineRecord:
        """Which engine it is."""
        with self._asking():
            found = self._client.info()
        return EngineRecord(found["ID"], found["Name"])

    def find(self, name: str) -> EngineContainer | None:
        """The container that is called *name*; None when there is none."""
        with self._asking():
            try:
                found = self._client.inspect_container(name)
            except NotFound:
                return None
        state = found["State"]
        return EngineContainer(
            id=found["Id"],
            status=state["Status"],
            exit_code=state["ExitCode"],
            out_of_memory=state.get("OOMKilled", False),
            stop_seconds=found["Config"].get("StopTimeout") or 0,
        )

    def create(self, name: str, config: Mapping[str, Any]) -> tuple[str, list[str]] | None:
        """Make a container called *name*, as the engine's API describes it; its id and the engine's warnings.

        None when another one has the name.
        """
        with self._ordering():
            try:
                created = self._client.create_container_from_config(dict(config), name)
            except APIError as error:
                if error.status_code == CONFLICT:
                    return None
                raise
        return created["Id"], created.get("Warnings") or []

    def put(self, container: str, archive: bytes) -> None:
        """Unpack the tar *archive* at the root of a container, with the owners and modes that it names."""
        with self._ordering():
            self._client.put_archive(container, "/", archive)

    def start(self, container: str) -> None:
        """Start it; nothing happens when it has been started."""
        with self._ordering():
            self._client.start(container)

    def output(self, container: EngineContainer, offset: int) -> Iterator[bytes]:
        """What the container prints, from byte *offset* of all that it ever printed, until it ends.

        Of one that lives the end may be missing: ask again once it does not. Nothing when it is gone.
        """
        with (
            self._asking(),
            suppress(NotFound),
            closing(self._client.logs(container.id, stream=True, follow=container.is_alive)) as stream,
            self._ending(stream, with_the=container),
        ):
            for chunk in stream:
                if new := chunk[offset:]:
                    yield new
                offset = max(0, offset - len(chunk))

    def last_output(self, container: str, lines: int) -> bytes:
        """The last *lines* that the container printed; none when it is gone."""
        output = b""
        with self._asking(), suppress(NotFound):
            output = self._client.logs(container, tail=lines)
        return output

    def stop(self, container: EngineContainer) -> None:
        """Ask it to end, and kill it when it has not ended in its own time; return when it has ended."""
        with self._asking(), suppress(NotFound):
            if container.status == "paused":
                self._client.unpause(container.id)
            self._client.stop(container.id, timeout=container.stop_seconds)

    def remove(self, container: str) -> None:
        """End it at once, and take it and what it wrote away; it may be gone, or going."""
        with self._asking(), suppress(NotFound):
            try:
                self._client.remove_container(container, v=True, force=True)
            except APIError as error:
                if error.status_code != CONFLICT:
                    raise

    @contextmanager
    def _ending(self, stream: Any, *, with_the: EngineContainer) -> Iterator[None]:
        """Close a *stream* that outlasts its container: engines miss the end of one at times."""
        over = threading.Event()

        def watch() -> None:
            while not over.wait(WATCH_SECONDS):
                with suppress(StepError):
                    found = self.find(with_the.id)
                    if (found is None or not found.is_alive) and not over.wait(WATCH_SECONDS):
                        with suppress(Exception):  # it may be closed by now, by whomever
                            stream.close()
                        return

        if with_the.is_alive:
            threading.Thread(target=watch, daemon=True).start()
        try:
            yield
        finally:
            over.set()

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Asking what the engine knows, or telling it to end something."""
        with self._ordering():
            try:
                yield
            except APIError as error:
                if error.is_server_error():
                    raise _trouble(error) from error
                raise

    @contextmanager
    def _ordering(self) -> Iterator[None]:
        """Ordering what the engine may refuse, which it often does as if it was its own failure."""
        try:
            yield
        except APIError as error:
            if _PASSING.search(_words(error)):
                raise _trouble(error) from error
            raise TargetError(f"the Docker engine refuses: {_words(error)}") from error
        except (DockerException, RequestException, HTTPError, OSError) as error:
            raise InfrastructureError(
                f"the Docker engine does not answer: {error}; see that it runs and can be reached from here"
            ) from error


def _trouble(error: APIError) -> InfrastructureError:
    return InfrastructureError(f"the Docker engine is in trouble: {_words(error)}")


def _words(error: APIError) -> str:
    return str(error.explanation or error)
