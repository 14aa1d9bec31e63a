"""Containers of a Docker engine: one that shares this machine's disk, and one that is told it does not."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_mlpipe.model.docker_target import DockerTarget
from airflow_mlpipe.targets.contract import AttemptDirectory, Container, Mount
from tests.targets.benches import Bench, CarriedBench

if TYPE_CHECKING:
    from airflow_mlpipe.targets.attempt_records import AttemptRecords
    from airflow_mlpipe.targets.docker.driver import DockerDriver


class DockerBench(Bench):
    """Containers that find *folder* under its own path."""

    def __init__(self, folder: Path, bundle: Path, host: str, image: str) -> None:
        super().__init__(folder)
        self.engine = Containers(host)
        self.bundle = bundle
        self.container = Container(image, (Mount(folder, writable=True),))

    def driver(self, **fields: Any) -> DockerDriver:
        return self.engine.driver(DockerTarget(**fields), self.bundle)

    def destroy(self, attempt: AttemptDirectory) -> None:
        self.engine.kill(attempt)

    def shown(self, attempt: AttemptDirectory) -> str:
        return super().shown(attempt) + self.engine.shown(attempt)

    def kept(self, attempt: AttemptDirectory) -> list[str]:
        return self.engine.names(attempt)


class CarriedDockerBench(CarriedBench):
    """Containers to which everything is carried; *folder* stands for a disk that only the datastore is on."""

    def __init__(self, folder: Path, bundle: Path, host: str, image: str) -> None:
        super().__init__(folder, bundle)
        self.engine = Containers(host)
        self.container = Container(image)

    def driver(self, **fields: Any) -> DockerDriver:
        target = DockerTarget(**{"volumes": (f"{self.folder}:{self.folder}",), **fields})
        return self.engine.driver(target, self.bundle, self.records)

    def destroy(self, attempt: AttemptDirectory) -> None:
        self.engine.kill(attempt)

    def shown(self, attempt: AttemptDirectory) -> str:
        return super().shown(attempt) + self.engine.shown(attempt)

    def kept(self, attempt: AttemptDirectory) -> list[str]:
        return self.engine.names(attempt)


class Containers:
    """The engine at *host*, asked behind the back of drivers."""

    def __init__(self, host: str) -> None:
        import docker

        self.host = host
        self.client = docker.APIClient(host, version="auto")

    def driver(
        self, target: DockerTarget, bundle: Path, records: AttemptRecords | None = None
    ) -> DockerDriver:
        """A driver with a client of its own."""
        import docker

        from airflow_mlpipe.targets.docker.driver import DockerDriver
        from airflow_mlpipe.targets.images.engine import ImageEngine
        from airflow_mlpipe.targets.images.registry import RegistryLogin

        client = docker.APIClient(self.host, version="auto")
        images = ImageEngine(lambda: client, lambda registry: RegistryLogin(), lambda line: None)
        return DockerDriver(client, target, bundle, images, records, {"DOCKER_HOST": self.host})

    def of(self, attempt: AttemptDirectory) -> list[dict[str, Any]]:
        """What the engine lists of the attempt."""
        found: list[dict[str, Any]] = self.client.containers(
            all=True, filters={"label": f"mlpipe.attempt={attempt.attempt}"}
        )
        return found

    def names(self, attempt: AttemptDirectory) -> list[str]:
        return [name for container in self.of(attempt) for name in container["Names"]]

    def shown(self, attempt: AttemptDirectory) -> str:
        """Everything that the engine tells of the attempt's container."""
        return json.dumps([self.client.inspect_container(item["Id"]) for item in self.of(attempt)])

    def kill(self, attempt: AttemptDirectory) -> None:
        import docker

        for container in self.of(attempt):
            with suppress(docker.errors.APIError):  # it has ended
                self.client.kill(container["Id"])

    def remove(self, attempt: AttemptDirectory) -> None:
        """Kill what the engine has of the attempt, and take it away."""
        import docker

        for container in self.of(attempt):
            with suppress(docker.errors.APIError):  # it is gone, or about to go
                self.client.remove_container(container["Id"], v=True, force=True)
