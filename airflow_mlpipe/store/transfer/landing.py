"""Where a file lies while it comes, and how it gets to its place when all of it is there."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Protocol

from airflow_mlpipe.store.atomic import temporary_name
from airflow_mlpipe.store.download_cache import Claim, DownloadCache


class Landing(Protocol):
    """A file that is coming: written to *descriptor*, or to *path* without replacing it. Raises OSError."""

    path: Path
    descriptor: int

    def settle(self, digest: str) -> None:
        """Put the file, which is complete and has *digest*, at its place."""

    def close(self) -> None:
        """Let go of it; when it was not settled, nothing of it stays."""


class InCache:
    """In the cache, which gives it to *target*, if there is one, as a copy of its *own* or to share."""

    def __init__(
        self, cache: DownloadCache, claim: Claim, target: Path | None, *, executable: bool, own: bool
    ) -> None:
        self.path = claim.path
        self.descriptor = claim.descriptor
        self.close = claim.close
        self._cache = cache
        self._claim = claim
        self._target = target
        self._executable = executable
        self._own = own

    def settle(self, digest: str) -> None:
        self._cache.settle(self._claim, digest, self._target, executable=self._executable, own=self._own)


class Beside:
    """Beside *target*, a file that it replaces. It is read-only unless it is an *own* copy."""

    def __init__(self, target: Path, *, executable: bool, own: bool) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        self.path = target.parent / temporary_name()
        self.descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        self._target = target
        self._executable = executable
        self._own = own

    def settle(self, digest: str) -> None:
        mode = os.fstat(self.descriptor).st_mode & 0o777
        if self._executable:
            mode |= (mode & 0o444) >> 2
        os.fchmod(self.descriptor, mode if self._own else mode & 0o555)
        self.path.replace(self._target)

    def close(self) -> None:
        os.close(self.descriptor)
        self.path.unlink(missing_ok=True)


class Nowhere:
    """A file of which only the digest is wanted."""

    def __init__(self) -> None:
        self.descriptor, path = tempfile.mkstemp(prefix="mlpipe-")
        self.path = Path(path)

    def settle(self, digest: str) -> None:
        pass

    def close(self) -> None:
        os.close(self.descriptor)
        self.path.unlink(missing_ok=True)
