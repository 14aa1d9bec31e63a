"""Taking outputs out of use on somebody's word, so that their steps run again and can say why."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.layout import invalidation_key, manifest_key

# Who takes away what is merely not needed any more.
COLLECTOR = "garbage collection"


class Invalidation(BaseModel):
    """Who took the outputs out of use, when (seconds since the epoch), and why ("" when not said)."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    schema_version: Literal[1] = 1
    by: str
    at: float
    reason: str

    @property
    def distrusts(self) -> bool:
        """Whether the outputs themselves were found wanting, so that other datastores' are no better."""
        return self.by != COLLECTOR


class Invalidations:
    """The invalidations of a datastore. All methods raise StoreError when the store fails."""

    def __init__(self, datastore: Datastore, clock: Callable[[], float] = time.time) -> None:
        self._datastore = datastore
        self._clock = clock

    def invalidate(self, fingerprint: str, by: str, reason: str = "", *, seen: bytes | None = None) -> bool:
        """Withdraw the manifest of *fingerprint*; whether that was done.

        It is not when there is none, nor when its bytes are no longer those that were *seen*: what was sealed
        meanwhile stays. The outputs stay until garbage is collected, so that running readers are not
        disturbed.
        """
        key = manifest_key(fingerprint)
        seen = self._datastore.read(key) if seen is None else seen
        if seen is None:
            return False
        # The word is there before the deed: a rerun in between can say why.
        self.distrust(fingerprint, by, reason)
        withdrawn = self._datastore.swap(key, seen, None)
        if not withdrawn and self._datastore.exists(key):
            self.forget(fingerprint)
        return withdrawn

    def distrust(self, fingerprint: str, by: str, reason: str = "") -> None:
        """Take outputs of *fingerprint* out of use that other datastores hold, to which nothing is written.

        Who has this datastore for its own does not reuse them before it has made them again.
        """
        document = Invalidation(by=by, at=self._clock(), reason=reason)
        self._datastore.write(invalidation_key(fingerprint), document.model_dump_json().encode() + b"\n")

    def current(self, fingerprint: str) -> Invalidation | None:
        """What was said of *fingerprint* since it was last sealed; None for nothing, or nothing readable."""
        data = self._datastore.read(invalidation_key(fingerprint))
        if data is None:
            return None
        try:
            return Invalidation.model_validate_json(data)
        except ValidationError:
            return None

    def forget(self, fingerprint: str) -> None:
        """Drop what was said: the outputs were made again."""
        self._datastore.delete(invalidation_key(fingerprint))
