"""What an attempt left in the datastore by itself, as it says, and as the datastore bears it out."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from airflow_mlpipe.errors import DocumentError, InfrastructureError, StoreError
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.digest import Content, Entry
from airflow_mlpipe.store.layout import attempt_prefix, check_key
from airflow_mlpipe.store.listing import describe_leaves
from airflow_mlpipe.store.manifest import ManifestOutput
from airflow_mlpipe.store.tree import EmptyFolder


class _Record(BaseModel):
    """A line of ``brought.jsonl``, see :class:`airflow_mlpipe.records.Brought`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    place: str
    path: str
    size: int
    digest: str | None
    executable: bool


class BroughtFiles:
    """What *attempt* left in *datastore*; the file at *path* says what it is.

    The digests are those that the attempt computed of what it sent. The files, and their sizes, are compared
    with what the datastore lists.
    """

    def __init__(self, datastore: Datastore, attempt: str, path: Path) -> None:
        self._datastore = datastore
        self._prefix = attempt_prefix(attempt)
        self._path = path

    def describe(self, name: str, key: str, listing_at: str) -> ManifestOutput | None:
        """The output *name*, or what else there is at *key*; None when nothing was left there.

        A listing that it needs is put at *listing_at*. Raises InfrastructureError when the datastore has
        other files than the attempt says, DocumentError when what it says cannot be read, StoreError.
        """
        records = self._records(key)
        if (first := next(records, None)) is None:
            return None
        self._compare(key)
        if first.path == "" and first.digest is not None:
            return ManifestOutput.of(name, key, Content("file", first.digest, first.size))
        leaves = map(_leaf, filter(lambda record: record.path, self._records(key)))
        return describe_leaves(self._datastore, name, key, listing_at, leaves)

    def _records(self, key: str) -> Iterator[_Record]:
        """What lies at *key*, or below it, with paths from there; in order of their paths."""
        try:
            with self._path.open("rb") as lines:
                for line in lines:
                    record = _Record.model_validate_json(line)
                    whole = "/".join(filter(None, (self._prefix, record.place, record.path)))
                    check_key(whole)
                    if whole == key or whole.startswith(f"{key}/"):
                        yield record.model_copy(update={"path": whole.removeprefix(key).removeprefix("/")})
        except (OSError, ValidationError, StoreError) as error:
            raise DocumentError(f"{self._path.name} of the attempt cannot be used: {error}") from error

    def _compare(self, key: str) -> None:
        said = ((record.path, record.size) for record in self._records(key) if record.digest is not None)
        found = (
            (file.key.removeprefix(key).removeprefix("/"), file.size) for file in self._datastore.files(key)
        )
        for one, other in zip_longest(said, found):
            if one != other:
                path = min(item[0] for item in (one, other) if item is not None)
                raise InfrastructureError(
                    f"{self._datastore.uri(key)} is not what its step left there: {path or 'it'} is missing, "
                    "new, or of another size; run the step again"
                )


def _leaf(record: _Record) -> Entry | EmptyFolder:
    if record.digest is None:
        return EmptyFolder(record.path)
    return Entry(record.path, record.size, record.digest, record.executable)
