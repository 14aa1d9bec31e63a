"""Opening URLs: which address a datastore's name stands for, and with which options its driver is called.

Data is named by paths, by URLs such as ``s3://bucket/raw/``, and by ``datastore://NAME/raw/``, a place in a
datastore whose address and credentials are kept elsewhere. Who keeps them depends on the process: a worker
has Airflow's connections, a step's process the little that it was handed. Each says so once, by
:func:`resolve_with`, and everything that opens a URL asks here.

Options hold secrets. They live in memory only: they are never logged, pickled or written to a file.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from airflow_mlpipe.errors import StoreError

DATASTORE = "datastore://"

# The extra of this package that brings the driver of a protocol.
_EXTRAS = {
    **dict.fromkeys(("s3", "s3a"), "s3"),
    **dict.fromkeys(("az", "abfs", "abfss"), "azure"),
    **dict.fromkeys(("gs", "gcs"), "gcs"),
    **dict.fromkeys(("http", "https"), "http"),
    **dict.fromkeys(("sftp", "ssh"), "sftp"),
}

# So that a server that is dead is an error within a minute: seconds to connect, seconds without a word, tries
# of one request, and the least seconds between two of them.
_TO_CONNECT, _TO_ANSWER, _TRIES, _PAUSE = 5, 15, 3, 1


@dataclass(frozen=True)
class Access:
    """A URL as a driver of fsspec takes it, and the *options* of that driver."""

    url: str
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)


Resolver = Callable[[str], Access]


def as_it_is(url: str) -> Access:
    """The resolver of a process that knows no datastore: a URL is opened with what its driver finds itself.

    Raises StoreError for the name of a datastore.
    """
    if url.startswith(DATASTORE):
        raise StoreError(f"{url} names a datastore, and none is known here; use its URL")
    return Access(url)


_resolver: Resolver = as_it_is


def resolve_with(resolver: Resolver) -> None:
    """Let *resolver* answer from now on, in this process."""
    global _resolver
    _resolver = resolver


def access_to(url: str) -> Access:
    """How to open *url*; StoreError for a datastore that is not known or cannot be looked up."""
    return _resolver(url)


def filesystem(url: str) -> tuple[Any, str]:
    """The fsspec filesystem that opens *url*, and the path of *url* in it.

    Raises StoreError when its datastore is not known, its driver is not installed, or refuses the URL.
    """
    return opened(access_to(url))


def opened(access: Access) -> tuple[Any, str]:
    """The same for an access that is known already."""
    try:
        from fsspec.core import url_to_fs

        found, path = url_to_fs(access.url, **_limited(access))
        _limit(found)
    except ImportError as error:
        extra = _EXTRAS.get(access.url.partition("://")[0])
        advice = f"; pip install 'airflow-mlpipe[{extra}]'" if extra else ""
        raise StoreError(
            f"cannot open {access.url}: its driver is not installed ({error}){advice}"
        ) from error
    except Exception as error:
        said = told(error, access)
        raise StoreError(
            f"cannot open {access.url}: {said}; check the URL and the options of its datastore"
        ) from (None if "***" in said else error)
    return found, str(path)


def _limited(access: Access) -> dict[str, Any]:
    """The options of *access*, and limits for what it leaves open.

    Left to themselves, drivers wait many minutes for a server that is dead, and tell from memory what lies in
    a folder, where other processes write too.
    """
    options = dict(access.options)
    extra = _EXTRAS.get(access.url.partition("://")[0])
    if extra in ("s3", "azure", "gcs"):
        options.setdefault("use_listings_cache", False)
    if extra == "s3":
        retries = {"mode": "standard", "total_max_attempts": _TRIES}
        limits = {"connect_timeout": _TO_CONNECT, "read_timeout": _TO_ANSWER, "retries": retries}
        options["config_kwargs"] = {**limits, **options.get("config_kwargs", {})}
    if extra == "gcs" and "requests_timeout" not in options:
        from aiohttp import ClientTimeout

        options["requests_timeout"] = ClientTimeout(sock_connect=_TO_CONNECT, sock_read=_TO_ANSWER)
    return options


def _limit(driver: Any) -> None:
    """Set the limits for which *driver* has no options, also of what it logs."""
    package = type(driver).__module__.partition(".")[0]
    if package == "s3fs":
        driver.retries = 1  # the client below it tries often enough
    if package == "adlfs":
        requests = logging.getLogger("azure.core.pipeline.policies.http_logging_policy")
        if requests.level == logging.NOTSET:
            requests.setLevel(logging.WARNING)  # below, it tells of each request in some twenty lines
        client = driver.service_client
        with suppress(AttributeError):  # a client that keeps them elsewhere is as patient as its makers like
            client._config.retry_policy.__dict__.update(
                total_retries=_TRIES - 1, initial_backoff=_PAUSE, increment_base=2
            )
            client._pipeline._transport.connection_config.__dict__.update(
                timeout=_TO_CONNECT, read_timeout=_TO_ANSWER
            )


def told(error: Exception, access: Access) -> str:
    """What *error* says, with ``***`` for what may be secret among the options of *access*."""
    said = str(error) or type(error).__name__
    for text in _texts(access.options):
        said = said.replace(text, "***")
    return said


def _texts(options: Mapping[str, Any]) -> Iterator[str]:
    """The texts among *options* that may be secret: longer ones that are no addresses."""
    for value in options.values():
        if isinstance(value, Mapping):
            yield from _texts(value)
        elif isinstance(value, str) and len(value) >= 5 and "://" not in value:
            yield value
