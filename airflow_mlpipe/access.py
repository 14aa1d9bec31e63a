"""Opening URLs: which address a datastore's name stands for, and with which options its driver is called.

Data is named by paths, by URLs such as ``s3://bucket/raw/``, and by ``datastore://NAME/raw/``, a place in a
datastore whose address and credentials are kept elsewhere. Who keeps them depends on the process: a worker
has Airflow's connections, a step's process the little that it was handed. Each says so once, by
:func:`resolve_with`, and everything that opens a URL asks here.

Options hold secrets. They live in memory only: they are never logged, pickled or written to a file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_mlpipe.errors import StoreError

DATASTORE = "datastore://"


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
    from fsspec.core import url_to_fs

    try:
        found, path = url_to_fs(access.url, **access.options)
    except ImportError as error:
        raise StoreError(f"cannot open {access.url}: its driver is not installed ({error})") from error
    except Exception as error:
        raise StoreError(
            f"cannot open {access.url}: {error}; check the URL and the options of its datastore"
        ) from error
    return found, str(path)
