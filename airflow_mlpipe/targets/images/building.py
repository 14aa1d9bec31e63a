"""Images of environments: found where they are, else built once by whoever comes first."""

from __future__ import annotations

import hashlib
import os
import socket
import time
import uuid
from collections.abc import Callable

from airflow_mlpipe.errors import InfrastructureError
from airflow_mlpipe.model.image_name import ImageName
from airflow_mlpipe.store.lease import Lease, Leases
from airflow_mlpipe.targets.images.definition import ImageDefinition
from airflow_mlpipe.targets.images.engine import ImageEngine
from airflow_mlpipe.targets.images.registry import Registries

REPOSITORY = "mlpipe/environment"
"""What images are called on an engine when no registry gets them."""
LABEL = "mlpipe.environment"
"""Holds the digest of the definition, so that nobody takes another image for it."""

_LOOK_EVERY = 1.0  # seconds, while somebody else builds


class EnvironmentImages:
    """Provides the images of definitions.

    *engine* builds them. With a *repository* they are sent to that registry, and fetched from there; who
    starts containers is then not always that engine (*starts_elsewhere*). *leases* let one build at a time.
    """

    def __init__(
        self,
        engine: ImageEngine,
        registries: Registries,
        leases: Leases,
        say: Callable[[str], None],
        *,
        repository: str = "",
        starts_elsewhere: bool = False,
    ) -> None:
        self._engine = engine
        self._registries = registries
        self._leases = leases
        self._say = say
        self._repository = repository
        self._starts_elsewhere = starts_elsewhere

    def name(self, definition: ImageDefinition) -> ImageName:
        """What the image of *definition* is called."""
        return ImageName.parse(f"{self._repository or REPOSITORY}:{definition.tag}")

    def provide(self, definition: ImageDefinition) -> str:
        """The reference of the image of *definition*, built now if nobody has built it so far.

        One worker builds, others wait for it. Raises TargetError with the last words of what failed.
        """
        waiting = False
        while (found := self.find(definition)) is None:
            owner = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
            lease = self._leases.take(self._flight(definition), owner, "")
            if isinstance(lease, Lease):
                with lease, lease.keep_alive():
                    # Who held it before may have been done just now.
                    return self.find(definition) or self._make(definition)
            if not waiting:
                self._say(f"Waiting for {lease.owner.rpartition(':')[0]}, which builds the same image")
                waiting = True
            time.sleep(_LOOK_EVERY)
        return found

    def find(self, definition: ImageDefinition) -> str | None:
        """The reference of the image of *definition* for who starts it; None when it is nowhere."""
        is_fetched = self._starts_elsewhere and self._repository
        if not is_fetched and (image := self._in_engine(definition)) is not None:
            return image
        name = self.name(definition)
        if not self._repository or (digest := self._registries.digest(name)) is None:
            return None
        if self._starts_elsewhere:
            return name.at(digest)
        self._engine.pull(name)
        return self._in_engine(definition)

    def _in_engine(self, definition: ImageDefinition) -> str | None:
        found = self._engine.inspect(self.name(definition).text)
        if found is None or (found["Config"].get("Labels") or {}).get(LABEL) != definition.digest:
            return None
        return str(found["Id"])

    def _make(self, definition: ImageDefinition) -> str:
        name = self.name(definition)
        image = self._in_engine(definition) or self._build(definition, name)
        if not self._repository:
            if self._starts_elsewhere:
                self._say(
                    f"[mlpipe] image_registry is empty: the image {name.text} stays on the engine that built "
                    "it, and the nodes must be given it"
                )
            return image
        digest = self._engine.push(name)
        return name.at(digest) if self._starts_elsewhere else image

    def _build(self, definition: ImageDefinition, name: ImageName) -> str:
        self._say(f"Building the image {name.text}")
        started = time.monotonic()
        for identity in definition.bases.values():
            if self._engine.inspect(identity.reference) is None:
                self._engine.pull(ImageName.parse(identity.reference))
        labels = {LABEL: definition.digest}
        if (text := definition.pinned_dockerfile) is None:
            (base,) = (identity.reference for identity in definition.bases.values())
        else:
            base = self._engine.build(text, None if definition.installs else name.text, labels)
        image = base
        if definition.installs:
            text = definition.installing_dockerfile(base, self._user_of(base))
            image = self._engine.build(text, name.text, labels)
        self._say(f"The image {name.text} was built in {time.monotonic() - started:.0f} s")
        return image

    def _user_of(self, image: str) -> str:
        found = self._engine.inspect(image)
        if found is None:
            raise InfrastructureError(f"the engine has lost the image {image}, on which it was to build")
        return str(found["Config"].get("User") or "")

    def _flight(self, definition: ImageDefinition) -> str:
        """What only one may do at a time; without a registry each engine has to build for itself."""
        if self._repository:
            return definition.digest
        return hashlib.sha256(f"{definition.digest} {self._engine.id}".encode()).hexdigest()
