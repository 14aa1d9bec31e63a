"""The records of attempts that run elsewhere: by way of the datastore, which both sides reach."""

from __future__ import annotations

from airflow_mlpipe.errors import InfrastructureError
from airflow_mlpipe.records import Carriage, to_json
from airflow_mlpipe.store.atomic import arriving
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.layout import attempt_prefix
from airflow_mlpipe.targets.contract import AttemptDirectory

RESULT = "result.json"
CARRIAGE = "carriage.json"
BROUGHT = "brought.jsonl"

_SENT = ("spec.json", "children.json")
_FETCHED = (BROUGHT, "registrations.jsonl", "returned.json", "metrics.jsonl", "spec.json")


class AttemptRecords:
    """The records that attempts keep in *datastore*, below the prefixes of their ids.

    A datastore on a disk has the attempt's own directory there; then there is nothing to bring.
    """

    def __init__(self, datastore: Datastore) -> None:
        self._datastore = datastore

    def url(self, attempt: str, name: str = "") -> str:
        """The URL of the record *name* of an attempt; of its folder for ""."""
        return self._datastore.uri(f"{attempt_prefix(attempt)}/{name}".rstrip("/"))

    def send(self, attempt: AttemptDirectory, carriage: Carriage | None = None) -> None:
        """Keep what the attempt's directory has of its spec and the earlier runs, and *carriage*.

        Raises StoreError.
        """
        if carriage is not None:
            self._datastore.write(self._key(attempt, CARRIAGE), to_json(carriage).encode())
        for name in _SENT if self._is_elsewhere(attempt) else ():
            if (path := attempt.path / name).exists():
                self._datastore.write(self._key(attempt, name), path.read_bytes())

    def has_spec(self, attempt: AttemptDirectory) -> bool:
        """Whether the attempt was launched, here or by another worker. Raises StoreError."""
        return self._datastore.exists(self._key(attempt, "spec.json"))

    def has_result(self, attempt: AttemptDirectory) -> bool:
        """Whether the attempt has ended and said how. Raises StoreError."""
        return self._datastore.exists(self._key(attempt, RESULT))

    def fetch(self, attempt: AttemptDirectory) -> None:
        """Bring the records that are there to the attempt's directory.

        Raises StoreError, and InfrastructureError when they cannot be written there.
        """
        if not self._is_elsewhere(attempt):
            return
        # The result says that all the others are there: so it is asked for first, and put down last.
        result = self._datastore.read(self._key(attempt, RESULT))
        if result is not None and attempt.result_path.exists() and attempt.result_path.read_bytes() == result:
            return
        others = {name: self._datastore.read(self._key(attempt, name)) for name in _FETCHED}
        found = {RESULT: result, **others}
        for name, content in reversed(found.items()):
            if content is None:
                continue
            try:
                with arriving(attempt.path / name) as temporary:
                    temporary.touch(mode=0o600)
                    temporary.write_bytes(content)
            except OSError as error:
                raise InfrastructureError(
                    f"cannot write {attempt.path / name}: {error}; check that its disk has room"
                ) from error

    def _is_elsewhere(self, attempt: AttemptDirectory) -> bool:
        return self._datastore.local_path(attempt_prefix(attempt.attempt)) != attempt.path

    def _key(self, attempt: AttemptDirectory, name: str) -> str:
        return f"{attempt_prefix(attempt.attempt)}/{name}"
