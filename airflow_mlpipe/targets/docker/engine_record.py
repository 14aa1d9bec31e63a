"""Which engine an attempt was given to, for workers that share its records and have engines of their own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from airflow_mlpipe.errors import DocumentError, InfrastructureError
from airflow_mlpipe.records import from_json, to_json
from airflow_mlpipe.store.atomic import arriving
from airflow_mlpipe.targets.contract import AttemptDirectory


@dataclass(frozen=True)
class EngineRecord:
    """An engine: its ``id``, and the ``host`` that it runs on. Both count, for machines are cloned."""

    id: str
    host: str

    @classmethod
    def read(cls, attempt: AttemptDirectory) -> EngineRecord | None:
        """The engine of *attempt*; None when its records do not tell."""
        try:
            return from_json(cls, _path(attempt).read_bytes())
        except (OSError, DocumentError):
            return None

    def write(self, attempt: AttemptDirectory) -> None:
        """Leave it with the records of *attempt*, atomically. Raises InfrastructureError."""
        path = _path(attempt)
        try:
            with arriving(path) as temporary:
                temporary.write_text(to_json(self), "utf8")
        except OSError as error:
            raise InfrastructureError(
                f"cannot write {path}: {error}; check that its disk is mounted, has room, and may be written"
            ) from error


def _path(attempt: AttemptDirectory) -> Path:
    return attempt.path / "engine.json"
