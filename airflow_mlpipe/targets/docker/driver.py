"""The Docker target: a step is the first process of a container of its own, or a child of it.

Its container is found again by its name, which follows from the attempt's id.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from docker import APIClient

from airflow_mlpipe.errors import InfrastructureError, StepError, TargetError
from airflow_mlpipe.model.docker_target import DockerTarget
from airflow_mlpipe.model.image_name import ImageName
from airflow_mlpipe.records import LaunchSpec, Private, StepResult
from airflow_mlpipe.targets.attempt_records import AttemptRecords
from airflow_mlpipe.targets.contract import (
    NOTHING_PRIVATE,
    AttemptDirectory,
    AttemptState,
    Container,
    terminated_after_loss,
)
from airflow_mlpipe.targets.docker.container import User, container_config, container_name
from airflow_mlpipe.targets.docker.delivery import Delivery, carried, shared
from airflow_mlpipe.targets.docker.engine import Engine, EngineContainer
from airflow_mlpipe.targets.docker.engine_record import EngineRecord
from airflow_mlpipe.targets.docker.heir import Heir
from airflow_mlpipe.targets.docker.loss import KILLED, ended_early, gone, never_ran, silent
from airflow_mlpipe.targets.docker.refusal import advising
from airflow_mlpipe.targets.heartbeat import heartbeat
from airflow_mlpipe.targets.images.engine import ImageEngine
from airflow_mlpipe.targets.log_file import LAST_LINES, followed, last_lines, last_of
from airflow_mlpipe.targets.log_lines import LogLines
from airflow_mlpipe.targets.parcel import carrier_failure

ASK_SECONDS = 1.0  # between two questions to the engine while an attempt is followed
SILENCE_SECONDS = 60.0  # an engine that is restarted answers again within them
ENDING_SECONDS = 30.0  # at most, for a container whose attempt has its result
POLL_SECONDS = 0.1
CREATION_SECONDS = 20.0  # what another launch of the same attempt may need from creation to start

Answer = TypeVar("Answer")

log = logging.getLogger(__name__)


class DockerDriver:
    """Runs attempts as containers of the engine that *client* reaches; *runtime* is the runtime bundle.

    Without *records* the engine is one of this machine, and containers are shown folders of it. With them
    everything is carried, and comes back by way of the datastore that they are in. *images* is the same
    engine, as the place from which images are had. *address* has the variables by which Docker's own clients
    find the engine, where the environment does not say it. *clock* gives seconds since the epoch.

    Without *records* an attempt on the engine of another worker that shares the folder can be watched, but
    not terminated.
    """

    def __init__(
        self,
        client: APIClient,
        target: DockerTarget,
        runtime: Path,
        images: ImageEngine,
        records: AttemptRecords | None = None,
        address: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._engine = Engine(client)
        self._target = target
        self._runtime = runtime
        self._images = images
        self._records = records
        self._address = address or {}
        self._clock = clock
        self._heirs: dict[AttemptDirectory, Heir] = {}

    def launch(
        self,
        attempt: AttemptDirectory,
        spec: LaunchSpec,
        private: Private = NOTHING_PRIVATE,
        container: Container | None = None,
    ) -> None:
        """See :class:`~airflow_mlpipe.targets.contract.TargetDriver`; a lost attempt is started again.

        The image is fetched when the engine does not have it.
        """
        if self.status(attempt) in ("running", "finished"):
            return
        if container is None:
            raise TargetError(
                f"compute target {self._target.name!r} runs steps in containers; give it an image"
            )
        user = User.of(self._target)
        delivery = self._delivery(attempt, spec, private, container, user)
        self._fetch(container.image)
        self._write_records(attempt, spec)
        config = container_config(
            self._target,
            spec,
            image=container.image,
            command=delivery.command,
            directory=delivery.directory,
            environment=delivery.environment,
            mounts=delivery.mounts,
            user=user,
        )
        with advising(self._target, container.image):
            if (created := self._created(attempt, config)) is not None:
                self._start(created, delivery.archive)

    def status(self, attempt: AttemptDirectory) -> AttemptState:
        """See :class:`~airflow_mlpipe.targets.contract.TargetDriver`.

        Raises InfrastructureError when the engine would know and does not answer.
        """
        if attempt.result_path.exists():
            return "finished"
        if self._records is None and not attempt.spec_path.exists():
            return "unknown"
        container = self._container(attempt)
        if (container is not None and container.is_alive) or self._lives_elsewhere(attempt, container):
            return "running"
        # It may have ended between the first look and the last.
        if attempt.result_path.exists() or (self._records and self._records.has_result(attempt)):
            return "finished"
        is_known = container is not None or attempt.spec_path.exists()
        return "lost" if is_known or (self._records and self._records.has_spec(attempt)) else "unknown"

    def logs(self, attempt: AttemptDirectory, offset: int = 0) -> Iterator[str]:
        """See :class:`~airflow_mlpipe.targets.contract.TargetDriver`; the lines are those of LogLines.

        An engine that falls silent is given a minute; then it is an InfrastructureError.
        """
        if self._records is None:
            return followed(attempt.log_path, offset, self._is_running(attempt), time.sleep)
        return self._printed(attempt, offset)

    def terminate(self, attempt: AttemptDirectory) -> None:
        """See :class:`~airflow_mlpipe.targets.contract.TargetDriver`.

        Returns within the attempt's grace period and a few seconds; when this process is killed earlier, its
        heir ends and removes the container. Raises InfrastructureError when another worker's engine runs it.
        """
        if self.status(attempt) in ("unknown", "finished"):
            return
        container = self._container(attempt)
        if container is not None:
            self._appoint_heir(attempt, container)
        if container is not None and container.is_alive:
            self._engine.stop(container)
        elif self._lives_elsewhere(attempt, container):
            raise self._out_of_reach(attempt)
        self.collect(attempt)
        if not attempt.result_path.exists():
            attempt.write_result(terminated_after_loss(attempt, self._clock()))

    def result(self, attempt: AttemptDirectory) -> StepResult:
        """See :class:`~airflow_mlpipe.targets.contract.TargetDriver`."""
        state = self.status(attempt)
        if state == "lost":
            raise self._why_lost(attempt)
        if state != "finished":
            raise InfrastructureError(f"attempt {attempt.attempt} has no result, it is {state}")
        self.collect(attempt)
        result = attempt.read_result()
        if result.status == "failed" and not result.out_of_memory and self._ran_out_of_memory(attempt):
            limit = self._target.memory or "its container"
            return replace(
                result,
                message=f"{result.message}: the memory limit of {limit} was reached",
                out_of_memory=True,
            )
        return result

    def collect(self, attempt: AttemptDirectory) -> None:
        """See :class:`~airflow_mlpipe.targets.contract.TargetDriver`."""
        if self._records is not None:
            self._records.fetch(attempt)

    def discard(self, attempt: AttemptDirectory) -> None:
        """See :class:`~airflow_mlpipe.targets.contract.TargetDriver`; a container that stays is a warning."""
        name = container_name(attempt.attempt)
        try:
            self._engine.remove(name)
        except StepError as error:
            log.warning("The container %s stays, remove it by hand: %s", name, error)
        if (heir := self._heirs.pop(attempt, None)) is not None:
            heir.dismiss()

    def _container(self, attempt: AttemptDirectory) -> EngineContainer | None:
        return self._engine.find(container_name(attempt.attempt))

    def _lives_elsewhere(self, attempt: AttemptDirectory, container: EngineContainer | None) -> bool:
        """Whether another engine seems to run it; *container* is what this one has of it."""
        beat = None if self._records is not None else heartbeat(attempt)
        if beat is None or not beat.is_fresh(self._clock()):
            return False
        owner = EngineRecord.read(attempt)
        return container is None if owner is None else owner != self._engine.record()

    # -- launching --------------------------------------------------------------------------------------

    def _delivery(
        self,
        attempt: AttemptDirectory,
        spec: LaunchSpec,
        private: Private,
        container: Container,
        user: User,
    ) -> Delivery:
        if self._records is None:
            return shared(self._target, attempt, container, private, self._runtime, user)
        return carried(self._target, spec, private, self._runtime, user)

    def _fetch(self, image: str) -> None:
        if self._images.inspect(image) is None:
            self._images.pull(ImageName.parse(image))

    def _write_records(self, attempt: AttemptDirectory, spec: LaunchSpec) -> None:
        attempt.path.mkdir(parents=True, exist_ok=True)
        attempt.write_spec(spec)
        if self._records is not None:
            self._records.send(attempt)
            return
        self._engine.record().write(attempt)
        attempt.heartbeat_path.unlink(missing_ok=True)  # that of an earlier launch
        attempt.log_path.touch()

    def _created(self, attempt: AttemptDirectory, config: dict[str, object]) -> str | None:
        """The id of a new container; None when another launch of the attempt has made one.

        What is left of a lost attempt, and of a launch whose worker died, is taken away.
        """
        name = container_name(attempt.attempt)
        deadline = time.monotonic() + CREATION_SECONDS
        while (created := self._engine.create(name, config)) is None:
            # Looked at before it is asked whether it runs: it may be started in between.
            found = self._engine.find(name)
            if self.status(attempt) in ("running", "finished"):
                return None
            if found is not None and (found.status != "created" or time.monotonic() >= deadline):
                self._engine.remove(found.id)
            time.sleep(POLL_SECONDS)
        container, warnings = created
        for warning in warnings:
            log.warning("The Docker engine says: %s", warning)
        return container

    def _start(self, container: str, archive: bytes) -> None:
        try:
            if archive:
                self._engine.put(container, archive)
            self._engine.start(container)
        except StepError:
            self._engine.remove(container)
            raise

    # -- following --------------------------------------------------------------------------------------

    def _is_running(self, attempt: AttemptDirectory) -> Callable[[], bool]:
        """A function that tells it, and asks the engine now and then only."""
        asked_at = -math.inf

        def is_running() -> bool:
            nonlocal asked_at
            if attempt.result_path.exists():
                return False
            if time.monotonic() - asked_at < ASK_SECONDS:
                return True
            runs = self._patiently(lambda: self.status(attempt)) == "running"
            asked_at = time.monotonic()
            return runs

        return is_running

    def _printed(self, attempt: AttemptDirectory, offset: int) -> Iterator[str]:
        """What the container prints; after a broken connection, from the byte where it stopped."""
        lines = LogLines()
        give_up_at = math.inf
        while (container := self._patiently(lambda: self._container(attempt))) is not None:
            try:
                for chunk in self._engine.output(container, offset):
                    offset += len(chunk)
                    give_up_at = math.inf
                    yield from lines.feed(chunk)
            except InfrastructureError as error:
                give_up_at = min(give_up_at, time.monotonic() + SILENCE_SECONDS)
                if time.monotonic() >= give_up_at:
                    raise
                log.info("Reading what the step prints goes on in a moment: %s", error)
                time.sleep(ASK_SECONDS)
                continue
            if not container.is_alive:
                break
        yield from lines.close()

    def _patiently(self, ask: Callable[[], Answer]) -> Answer:
        """What *ask* returns, once the engine answers. Raises InfrastructureError when it stays silent."""
        give_up_at = time.monotonic() + SILENCE_SECONDS
        while True:
            try:
                return ask()
            except InfrastructureError as error:
                if time.monotonic() >= give_up_at:
                    raise
                log.info("Waiting for the Docker engine: %s", error)
                time.sleep(ASK_SECONDS)

    # -- ends -------------------------------------------------------------------------------------------

    def _ran_out_of_memory(self, attempt: AttemptDirectory) -> bool:
        """Whether the engine has seen that: the kernel does not count it in every container's own sight."""
        give_up_at = time.monotonic() + ENDING_SECONDS
        with suppress(InfrastructureError):  # whose failure it is does not depend on an engine that is silent
            while (container := self._container(attempt)) is not None and time.monotonic() < give_up_at:
                if not container.is_alive:
                    return container.out_of_memory
                time.sleep(POLL_SECONDS)
        return False

    def _why_lost(self, attempt: AttemptDirectory) -> StepError:
        """What became of an attempt that left no result."""
        name, container = container_name(attempt.attempt), self._container(attempt)
        logged = last_lines(attempt.log_path)
        if container is None:
            owner = EngineRecord.read(attempt)
            if owner is None or owner == self._engine.record():
                return gone(name, logged)
            return silent(name, owner.host, logged)
        printed = last_of(self._engine.last_output(container.id, LAST_LINES))
        if self._records is not None:
            return carrier_failure(printed) or ended_early(self._target, name, container, printed)
        if not attempt.heartbeat_path.exists() and container.exit_code != KILLED:
            return never_ran(self._target, container, printed)
        return ended_early(self._target, name, container, [*logged, *printed])

    def _appoint_heir(self, attempt: AttemptDirectory, container: EngineContainer) -> None:
        if attempt in self._heirs:
            return
        try:
            self._heirs[attempt] = Heir(container.id, self._address)
        except OSError as error:
            log.warning("Nobody removes container %s if this worker is killed: %s", container.id, error)

    def _out_of_reach(self, attempt: AttemptDirectory) -> StepError:
        name, owner = container_name(attempt.attempt), EngineRecord.read(attempt)
        host = "another worker" if owner is None else owner.host
        return InfrastructureError(
            f"attempt {attempt.attempt} runs on the Docker engine of {host} and cannot be terminated from "
            f"here; end it there: docker stop {name}"
        )
