"""Where authors may let data be copied to."""

from __future__ import annotations

from pathlib import Path

from airflow_mlpipe.access import DATASTORE, access_to
from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.pipeline.connections.services import comparable, lies_in, service_of
from airflow_mlpipe.pipeline.settings import NAMESPACES
from airflow_mlpipe.pipeline.stores import Stores
from airflow_mlpipe.store.layout import ROOT

# What a datastore keeps for itself, directly below it.
_RESERVED = (ROOT.partition("/")[0], NAMESPACES)


def destination_url(place: str, stores: Stores) -> str:
    """The URL of *place*, without a slash at its end; a relative one starts at the deployment's datastore.

    Raises StoreError for a place in a datastore that this deployment only reads, or among the files that
    datastores keep for themselves, and for a service that takes no files.
    """
    url = _absolute(place, stores)
    if service_of(url) == "http":
        raise StoreError(f"the destination {place!r} is read by http, which takes no files; choose another")
    around = [(resolved(store.url), store) for store in stores if lies_in(url, resolved(store.url))]
    if not around:
        return url
    root, nearest = max(around, key=lambda found: len(comparable(found[0])))
    if nearest is not stores.own:
        raise StoreError(
            f"the destination {place!r} lies in {nearest.url}, to which nothing is written; choose another"
        )
    inside = comparable(url).removeprefix(comparable(root)).lstrip("/")
    if not inside or inside.partition("/")[0] in _RESERVED:
        raise StoreError(f"the destination {place!r} lies among a datastore's own files; choose another")
    return url


def resolved(url: str) -> str:
    """*url* without a slash at its end; of a place on this machine, with links followed."""
    if service_of(url) == "file":
        return f"file://{Path(url.partition('://')[2] or url).resolve()}"
    return url.rstrip("/")


def _absolute(place: str, stores: Stores) -> str:
    if ".." in place.split("/"):
        raise StoreError(f"the destination {place!r} climbs out with '..'; write where it leads")
    url = access_to(place).url if place.startswith(DATASTORE) else place
    if "://" not in url and not url.startswith("/"):
        url = f"{stores.own.url}/{url}"
    return resolved(url)
