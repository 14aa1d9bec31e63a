"""Which image a name means, told by its content."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from airflow_mlpipe.errors import InfrastructureError, TargetError
from airflow_mlpipe.model.image_name import ImageName
from airflow_mlpipe.targets.images.engine import ImageEngine
from airflow_mlpipe.targets.images.registry import Registries


@dataclass(frozen=True)
class ImageIdentity:
    """An image by its content: ``digest`` is ``sha256:<hex>``; the ``reference`` starts no other one."""

    digest: str
    reference: str


class UnknownImage(TargetError):
    """Nobody could be asked which image a name means."""


class ImageIdentities:
    """Tells images apart. Answers are remembered, so an instance is for one moment.

    *engine* is the engine that is asked, None for none. With *prefers_registry* an image that came from a
    registry is what the registry has under the name now, as for nodes that fetch their images; otherwise it
    is what the engine has, as for containers that it starts.
    """

    def __init__(
        self,
        engine: ImageEngine | None,
        registries: Registries,
        say: Callable[[str], None],
        *,
        prefers_registry: bool = False,
    ) -> None:
        self._engine = engine
        self._registries = registries
        self._say = say
        self._prefers_registry = prefers_registry
        self._known: dict[str, ImageIdentity | UnknownImage] = {}

    def of(self, text: str) -> ImageIdentity:
        """The image that is called *text* now. Raises UnknownImage, whose sentence says what to do."""
        if text not in self._known:
            try:
                self._known[text] = self._found(ImageName.parse(text))
            except UnknownImage as error:
                self._known[text] = error
        found = self._known[text]
        if isinstance(found, UnknownImage):
            raise found
        return found

    def _found(self, name: ImageName) -> ImageIdentity:
        if name.digest is not None:
            return ImageIdentity(name.digest, name.text)
        problems: list[str] = []
        here = self._in_engine(name, problems)
        if here is not None and not (self._prefers_registry and "@" in here.reference):
            return self._told(name, here, "the Docker engine")
        if (there := self._in_registry(name, problems)) is not None:
            return self._told(name, there, f"the registry {name.registry}")
        if here is not None:
            return self._told(name, here, f"the Docker engine, since {'; '.join(problems)}")
        raise UnknownImage(
            f"nobody tells which image {name.text} is now: {'; '.join(problems)}; name it by its digest, as "
            f"{name.at('sha256:...')}, or make it available"
        )

    def _told(self, name: ImageName, identity: ImageIdentity, by: str) -> ImageIdentity:
        self._say(f"The image {name.text} is {identity.digest}, says {by}")
        return identity

    def _in_engine(self, name: ImageName, problems: list[str]) -> ImageIdentity | None:
        if self._engine is None:
            return None
        try:
            found = self._engine.inspect(name.text)
        except (InfrastructureError, TargetError) as error:
            problems.append(str(error))
            return None
        if found is None:
            problems.append("the Docker engine has no such image")
            return None
        return identity_in_engine(name, found)

    def _in_registry(self, name: ImageName, problems: list[str]) -> ImageIdentity | None:
        try:
            digest = self._registries.digest(name)
        except (InfrastructureError, TargetError) as error:
            problems.append(str(error))
            return None
        if digest is None:
            problems.append(f"the registry {name.registry} has no such image")
            return None
        return ImageIdentity(digest, name.at(digest))


def identity_in_engine(name: ImageName, inspected: Any) -> ImageIdentity:
    """What *name* is to an engine: what its repository calls it, else the engine's own id of it."""
    for known in inspected.get("RepoDigests") or ():
        other = ImageName.parse(known)
        if (other.registry, other.repository) == (name.registry, name.repository) and other.digest:
            return ImageIdentity(other.digest, name.at(other.digest))
    return ImageIdentity(inspected["Id"], inspected["Id"])
