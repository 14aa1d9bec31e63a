"""What is asked of a service."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Versioned:
    """The bytes of an object, and what its service calls this state of it."""

    data: bytes
    version: str


class ObjectService(Protocol):
    """The objects of a service, by the paths of their driver, taken as they are: ``*`` is no pattern.

    ``create``, ``replace`` and ``delete`` return False when the condition did not hold. That may be their own
    doing: clients send a request again, unasked, when its answer is lost. So look whether what was wanted is
    there. What client libraries raise is raised.
    """

    def read(self, path: str) -> Versioned | None:
        """What is at *path*, None when there is nothing."""

    def create(self, path: str, data: bytes) -> bool:
        """Put *data* at *path* if nothing is there."""

    def replace(self, path: str, version: str, data: bytes) -> bool:
        """Put *data* at *path* if *version* is there."""

    def delete(self, path: str, version: str) -> bool:
        """Delete what is at *path* if it is *version*."""

    def weakness(self) -> str | None:
        """Which of these conditions are not kept between two machines, and why; None when all are."""

    def listed(self, path: str) -> dict[str, int]:
        """The object at *path* and all below it with their sizes, as they are now.

        With the marks of folders that other tools leave, whose paths end with a slash.
        """

    def delete_all(self, path: str) -> None:
        """Delete all that :meth:`listed` tells; nothing there is fine."""


class Conflict(ConnectionError):
    """The service would not decide between two changes at one time: try again."""
