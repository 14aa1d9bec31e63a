"""Google Cloud Storage."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.store.transfer.server import BLOCK, Server

_DIGEST = "mlpipe-sha256"

# Bytes asked for, and sent, in one request: the client keeps all of them in memory.
_ANSWER = 8 * BLOCK


class GoogleServer(Server):
    """By gcsfs, which sends a file in one stream. What state a file was read in is asked afterwards."""

    reads_ranges = True
    copies = True

    def read(self, path: str, start: int, stop: int, stamp: str | None) -> Generator[bytes, None, None]:
        for offset in range(start, stop, _ANSWER):
            end = min(offset + _ANSWER, stop)
            with self.reporting("read", path):
                data = self.filesystem.cat_file(path, start=offset, end=end)
                if len(data) != end - offset:
                    raise StoreError(f"{self.url(path)} ended early; see whether it was changed")
            yield data
        if stamp is not None:
            self.compare(path, stamp)

    def send(self, source: Path, path: str, digest: str) -> str | None:
        with self.reporting("write", path):
            self.filesystem.put_file(str(source), path, chunksize=_ANSWER, metadata={_DIGEST: digest})
        return None

    def digest_beside(self, path: str) -> str | None:
        with self.reporting("look at", path):
            digest = self.filesystem.info(path).get("metadata", {}).get(_DIGEST)
            return None if digest is None else str(digest)
