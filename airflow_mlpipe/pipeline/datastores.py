"""The datastores that a worker knows: where each name leads, and with which credentials.

A name is looked up in the file of ``[mlpipe] datastores``, then among Airflow's connections. ``default`` is
the deployment's own namespace. A plain URL below a datastore is opened with that one's credentials: of those
in the file, of those that the options of ``[mlpipe]`` name, and of those that were looked up before.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Set
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from airflow_mlpipe.access import DATASTORE, Access, access_to, opened, resolve_with
from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.model.datastore import DEFAULT, DatastoreEntry, split_address
from airflow_mlpipe.pipeline.catalog import datastore_entries
from airflow_mlpipe.pipeline.connections.fields import DATASTORE_TYPE, DatastoreFields, connection_of
from airflow_mlpipe.pipeline.connections.options import complete_url, mask, merged, options_of
from airflow_mlpipe.pipeline.connections.services import Options, comparable, lies_in, service_of
from airflow_mlpipe.pipeline.settings import Settings
from airflow_mlpipe.records import SPEC_VARIABLE, HandedCredentials

# Credentials may be lent for a limited time, connections are edited, and a triggerer lives for weeks.
_FRESH_SECONDS = 300.0


def know_datastores() -> None:
    """Let this process open datastores by name. Nothing is looked up before one is opened.

    The process of a step, which may import a DAG file, stays with the credentials that it was handed.
    """
    if SPEC_VARIABLE not in os.environ:
        resolve_with(Datastores().access_to)


@dataclass(frozen=True)
class _Known:
    """What was looked up, and when."""

    access: Access
    at: float


@dataclass
class Datastores:
    """Answers for :func:`airflow_mlpipe.access.access_to`; any number of threads may ask.

    What was looked up counts for five minutes. *clock* counts seconds.
    """

    clock: Callable[[], float] = time.monotonic
    _known: dict[str, _Known] = field(default_factory=dict, init=False)
    _in_options: frozenset[str] | None = field(default=None, init=False)
    _asked: set[str] = field(default_factory=set, init=False)
    _lock: threading.RLock = field(default_factory=threading.RLock, init=False)

    def access_to(self, url: str) -> Access:
        """See :func:`airflow_mlpipe.access.access_to`.

        Raises StoreError; DefinitionError for an option, or a file of datastores, with a wrong value.
        """
        if url.startswith(DATASTORE):
            name, path = split_address(url)
            access = _inside(self._named(name), path)
            self._refuse_confusion(access, name)
            self._asked.add(name)
            return access
        if service_of(url) == "file":
            return Access(url)
        nearest = self._nearest(url, self._asked)
        if not nearest:
            return Access(url)
        found = self._named(nearest[0])
        for other in nearest[1:]:
            if _are_apart(found, self._named(other)):
                raise StoreError(
                    f"{url} lies in the datastores {nearest[0]!r} and {other!r}, which are at different "
                    f"servers or accounts; say which one, as datastore://{other}/..."
                )
        return Access(url, found.options)

    def _nearest(self, url: str, asked: Set[str]) -> list[str]:
        """The datastores with the longest URL above *url*; only those among *asked*, if any is."""
        bases = [(len(comparable(base)), name) for name, base in self._bases() if lies_in(url, base)]
        longest = max((length for length, _ in bases), default=0)
        nearest = [name for length, name in dict.fromkeys(bases) if length == longest]
        return [name for name in nearest if name in asked] or nearest

    def _refuse_confusion(self, access: Access, name: str) -> None:
        """Raise StoreError when the plain URL, by which the data is known from now on, leads elsewhere."""
        if service_of(access.url) == "file":
            return
        for other in self._nearest(access.url, self._asked | {name}):
            if other != name and _are_apart(access, self._named(other)):
                raise StoreError(
                    f"{access.url} lies in the datastores {name!r} and {other!r}, which are at different "
                    "servers or accounts, and a URL does not tell them apart; use one of them at a time, or "
                    "give the one another bucket or container"
                )

    def _named(self, name: str) -> Access:
        with self._lock:
            known = self._known.get(name)
            if known is None or self.clock() - known.at >= _FRESH_SECONDS:
                known = self._known[name] = _Known(self._look_up(name), self.clock())
            return known.access

    def _bases(self) -> Iterator[tuple[str, str]]:
        """The datastores below which a plain URL may lie, each with its URL."""
        yield from ((name, entry.url) for name, entry in datastore_entries().items() if entry.url)
        if self._in_options is None:
            self._in_options = _names_in_options()
        for name in self._in_options:
            self._asked.add(name)
            self._named(name)
        with self._lock:
            known = [(name, known.access.url) for name, known in self._known.items()]
        yield from known

    def _look_up(self, name: str) -> Access:
        if name == DEFAULT:
            return self.access_to(_own_url())
        entries = datastore_entries()
        if (entry := entries.get(name)) is not None:
            return _described(entry, f"datastore {name!r}")
        connection = connection_of(name)
        if connection is None:
            known = ", ".join(sorted(entries)) or "none"
            raise StoreError(
                f"datastore {name!r} is not known: [mlpipe] datastores has {known}, and Airflow has no "
                "connection of that id; correct the name, or create either"
            )
        if connection.conn_type != DATASTORE_TYPE:
            raise StoreError(
                f"connection {name!r} is of type {connection.conn_type}, which has no URL; name it as "
                f"auth_connection of a connection of type {DATASTORE_TYPE}, or as the connection of a "
                "datastore in the file of [mlpipe] datastores"
            )
        return _connected(connection, "", {}, f"datastore {name!r}")


def access_of_connection(connection: Any) -> Access:
    """How to open the datastore that a *connection* of type ``mlpipe_datastore`` is; raises StoreError."""
    return _connected(connection, "", {}, f"datastore {connection.conn_id!r}")


def _own_url() -> str:
    """Where this deployment's outputs lie, as the option names it."""
    own = Settings.read().datastore_url
    if own.startswith(DATASTORE) and split_address(own)[0] == DEFAULT:
        raise StoreError(
            f"[mlpipe] datastore is {own!r}, which is itself; name a folder, a URL or another name"
        )
    return own if "://" in own else f"file://{own}"


def credentials_for(urls: Iterable[str]) -> HandedCredentials:
    """What a step's process needs to open *urls* by itself, and nothing else.

    Raises StoreError as ``access_to``, and for credentials that cannot be written down.
    """
    options: list[dict[str, Any]] = []
    positions: dict[str, int] = {}
    for url in urls:
        found = dict(access_to(url).options)
        if not found:
            continue
        if found not in options:
            _refuse_objects(found, url)
            options.append(found)
        positions[url.rstrip("/")] = options.index(found)
    return HandedCredentials(positions, options)


def _refuse_objects(options: Options, url: str) -> None:
    try:
        json.dumps(options)
    except TypeError:
        raise StoreError(
            f"the storage options of {url} hold more than texts and numbers, so that a step cannot be handed "
            "them; mount or download the data"
        ) from None


def _names_in_options() -> frozenset[str]:
    """The names of datastores that the options of ``[mlpipe]`` have."""
    settings = Settings.read()
    urls = (settings.datastore, settings.private_datastore, *settings.read_datastores)
    names = (split_address(url)[0] for url in urls if url.startswith(DATASTORE))
    return frozenset(names) - {DEFAULT}


def _described(entry: DatastoreEntry, who: str) -> Access:
    if not entry.connection:
        mask(entry.storage_options)
        return Access(_checked_url(entry.url, who), dict(entry.storage_options))
    connection = connection_of(entry.connection)
    if connection is None:
        raise StoreError(f"{who} names the connection {entry.connection!r}, which Airflow has not; create it")
    return _connected(connection, entry.url, dict(entry.storage_options), who)


def _connected(connection: Any, url: str, more: Options, who: str) -> Access:
    """What *connection* opens at *url* (""; the URL that it has itself), with *more* options."""
    auth = connection
    if connection.conn_type == DATASTORE_TYPE:
        fields = DatastoreFields.of(connection)
        url = url or fields.url
        if fields.auth_connection:
            auth = _auth(fields.auth_connection, who)
            more = merged(fields.beside_auth(service_of(url)), more)
    url = complete_url(auth, _checked_url(url, who))
    options = merged(options_of(auth, url), more)
    mask(options)
    return Access(url, options)


def _auth(conn_id: str, who: str) -> Any:
    connection = connection_of(conn_id)
    if connection is None:
        raise StoreError(f"{who} names auth_connection {conn_id!r}, which Airflow has not; create it")
    if connection.conn_type == DATASTORE_TYPE:
        raise StoreError(
            f"auth_connection {conn_id!r} of {who} is a datastore itself; name one of type aws, wasb, "
            "google_cloud_platform, sftp or http"
        )
    return connection


def _checked_url(url: str, who: str) -> str:
    if not url:
        raise StoreError(f"{who} has no url; write one, such as s3://bucket/raw/")
    if url.startswith("/"):
        return f"file://{url}"
    protocol, separator, _ = url.partition("://")
    if not separator or not _is_protocol(protocol):
        raise StoreError(
            f"the url of {who} starts with {protocol!r}, which is no known protocol; use s3://, az://, "
            "abfs://, gs://, sftp://, http://, https:// or file://"
        )
    if urlsplit(url).password:
        raise StoreError(
            f"the url of {who} holds a password; write it into a connection, which keeps it out of logs"
        )
    return url


def _is_protocol(protocol: str) -> bool:
    from fsspec import available_protocols

    return protocol in available_protocols()


def _are_apart(one: Access, other: Access) -> bool:
    """Whether there are different endpoints or accounts behind the two, not only different credentials."""
    from airflow_mlpipe.store.transfer.remote_file import service_of as server_behind  # DAG files do without

    return one.options != other.options and server_behind(opened(one)[0]) != server_behind(opened(other)[0])


def _inside(base: Access, path: str) -> Access:
    return Access(f"{base.url.rstrip('/')}/{path}" if path else base.url, base.options)
