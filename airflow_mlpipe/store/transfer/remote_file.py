"""A file on a server, as the server describes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# What servers call the identity of an object's bytes, best first. Versions come after etags: only the answer
# for one file has them, not a listing, and they are "null" for good where they were switched off again.
_STAMPS = ("ETag", "etag", "version_id", "VersionId", "content_md5", "md5Hash", "checksum", "generation")


@dataclass(frozen=True)
class RemoteFile:
    """One file at *url*, a plain one that :func:`airflow_mlpipe.access.filesystem` opens.

    ``size`` is in bytes, None when the server does not tell. ``stamp`` is what the server calls this state of
    the file (see :func:`stamp_of`), None when it has no word for it or when nobody asked. ``digest`` is the
    SHA-256, in hex, that its bytes must have, None when nobody knows it. ``executable`` is what its copy is
    to be. ``service`` tells servers apart that know the same URLs, see :func:`service_of`.
    """

    url: str
    size: int | None
    stamp: str | None
    digest: str | None = None
    executable: bool = False
    service: str = ""

    @classmethod
    def listed(cls, filesystem: Any, info: Mapping[str, Any]) -> RemoteFile:
        """The file that *filesystem* describes by *info*, an entry of its ``ls``, ``find`` or ``info``."""
        url = str(filesystem.unstrip_protocol(info["name"]))
        return cls(url, info.get("size"), stamp_of(info), service=service_of(filesystem))


def stamp_of(info: Mapping[str, Any]) -> str | None:
    """What a server calls the bytes of a file, such as ``ETag="abc"``; None when it has no word for them."""
    for key in _STAMPS:
        if info.get(key) and info[key] != "null":
            # Azure puts an etag into quotes in its answer for one file, but not in a listing.
            return f"{key}={info[key].strip(chr(34)) if key == 'etag' else info[key]}"
    return None


def service_of(filesystem: Any) -> str:
    """The endpoint or account that *filesystem* talks to; "" when its URLs say that themselves. No secret."""
    options = getattr(filesystem, "client_kwargs", None) or {}
    endpoint = getattr(filesystem, "endpoint_url", None) or options.get("endpoint_url")
    return str(endpoint or getattr(filesystem, "account_name", None) or "")
