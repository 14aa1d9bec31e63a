"""Names of container images, as engines and registries have them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator

DOCKER_HUB = "docker.io"

_ID = re.compile(r"sha256:[0-9a-f]{64}")
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::\d{1,5})?")
_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_REST = re.compile(
    rf"(?P<repository>{_PART}(?:/{_PART})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)
_LONGEST = 500


@dataclass(frozen=True)
class ImageName:
    """The name of an image, taken apart.

    ``registry`` is the host that has it, ``docker.io`` for Docker Hub and "" for an image that is named by
    its id alone; ``digest`` is ``sha256:<hex>``, the id in that case. ``text`` is the name as it was given.
    """

    text: str
    registry: str
    repository: str
    tag: str
    digest: str | None

    @classmethod
    def parse(cls, text: str) -> ImageName:
        """The parts of *text*; ValueError when it is no name of an image."""
        if _ID.fullmatch(text):
            return cls(text, "", "", "", text)
        registry, slash, rest = text.partition("/")
        if not slash or not _is_host(registry):
            registry, rest = DOCKER_HUB, text
        match = _REST.fullmatch(rest)
        if match is None or len(text) > _LONGEST:
            raise ValueError(
                f"{text!r} is no name of an image such as 'python:3.12-slim' or "
                "'registry.example.com/team/train@sha256:<64 hex digits>'"
            )
        repository = match["repository"]
        if registry == DOCKER_HUB and "/" not in repository:
            repository = f"library/{repository}"
        return cls(text, registry, repository, match["tag"] or "", match["digest"])

    @property
    def is_id(self) -> bool:
        """Whether it is the id of an image that an engine or a node has, not a name in a registry."""
        return not self.registry

    def at(self, digest: str) -> str:
        """The name of what its repository has under *digest*."""
        name = self.text.split("@", 1)[0]
        return f"{name.removesuffix(f':{self.tag}') if self.tag else name}@{digest}"


def _is_host(text: str) -> bool:
    return _HOST.fullmatch(text) is not None and ("." in text or ":" in text or text == "localhost")


def _named(text: str) -> str:
    ImageName.parse(text)
    return text


Image = Annotated[str, AfterValidator(_named)]
"""A field that names an image."""
