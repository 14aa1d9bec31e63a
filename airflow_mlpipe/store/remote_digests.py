"""What this machine knows of the bytes of remote files."""

from __future__ import annotations

import json

from airflow_mlpipe.store.hash_cache import HashCache
from airflow_mlpipe.store.transfer.remote_file import RemoteFile

_DIGEST, _ORIGIN = "remote digest", "remote origin"

# Names that one service goes by.
_ALIASES = {"abfss": "abfs", "az": "abfs", "gcs": "gs", "s3a": "s3"}


class RemoteDigests:
    """Digests of remote files in the states that their servers name, kept in *cache*.

    Only what was seen of a file in that very state is learnt. For one thread, as the cache is.
    """

    def __init__(self, cache: HashCache) -> None:
        self._cache = cache

    def find(self, file: RemoteFile) -> str | None:
        """The SHA-256 of *file* in hex: the one it must have, else the one learnt of this state of it."""
        if file.digest is not None or file.stamp is None:
            return file.digest
        return self._cache.lookup(_DIGEST, _key(file))

    def learn(self, file: RemoteFile, digest: str) -> None:
        """Remember that *file* has *digest* in the state of its stamp; nothing is done for one without."""
        if file.stamp is not None:
            self._cache.remember(_DIGEST, _key(file), digest)

    def publish(self) -> None:
        """Let the other processes of this machine know what was learnt."""
        self._cache.close()

    def learn_copy(self, copy: RemoteFile, origin: RemoteFile) -> None:
        """Remember that a server made *copy* of *origin*, each in the state of its stamp; both need one."""
        if copy.stamp is not None and origin.stamp is not None:
            self._cache.remember(_ORIGIN, _key(copy), _key(origin))

    def is_copy(self, copy: RemoteFile, origin: RemoteFile) -> bool:
        """Whether that was learnt of the two, in the states in which they are."""
        return copy.stamp is not None and self._cache.lookup(_ORIGIN, _key(copy)) == _key(origin)


def _key(file: RemoteFile) -> str:
    protocol, _, rest = file.url.partition("://")
    return json.dumps([file.service, _ALIASES.get(protocol, protocol), rest, file.size, file.stamp])
