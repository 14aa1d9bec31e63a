"""What the commands for registered datasets and models print alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from typing import Any

from airflow_mlpipe.cli.output import print_document, print_rows
from airflow_mlpipe.errors import DocumentError
from airflow_mlpipe.pipeline.registered import Found
from airflow_mlpipe.pipeline.registrar import Registered
from airflow_mlpipe.pipeline.stores import Stores
from airflow_mlpipe.store.progress import readable_size
from airflow_mlpipe.store.registry import Registry, VersionT


def print_names(stores: Stores, of: type[VersionT], output: str) -> None:
    """Print a row for each name with its latest version; of stores that know a name, the first counts."""
    rows: dict[str, dict[str, Any]] = {}
    for datastore in stores:
        registry = Registry(datastore, of, stores.keyring)
        for name, versions in registry.names().items():
            if name not in rows:
                rows[name] = {
                    "name": name,
                    "versions": len(versions),
                    **_latest(registry, name, versions[-1]),
                }
    found = [rows[name] for name in sorted(rows)]
    if output == "table":
        found = [
            {
                **row,
                "size": None if row["size"] is None else readable_size(row["size"]),
                "created_at": moment(row["created_at"]),
            }
            for row in found
        ]
    print_rows(found, output, columns=("name", "latest", "created_at", "size", "description"))


def print_version(found: Found[VersionT], versions: list[int], uri: str, output: str) -> None:
    """Print one version, and which others there are."""
    record = found.version.model_dump(mode="json", exclude={"signature"})
    document = {**record, "datastore": found.datastore.url, "uri": uri, "versions": versions}
    lines = [str(found.version), *_lines(found, uri), f"  versions     {', '.join(map(str, versions))}"]
    print_document(document, output, "\n".join(lines))


def print_registered(done: Registered, output: str) -> None:
    """Print what was registered."""
    document = {
        "kind": done.kind,
        "name": done.name,
        "version": done.version,
        "digest": done.digest,
        "uri": done.uri,
        "is_new": done.is_new,
    }
    sentence = done.sentence()
    print_document(document, output, f"{sentence[0].upper()}{sentence[1:]}: {done.uri}")


def moment(seconds: float | None) -> str:
    """A time for people; "" for none."""
    if seconds is None:
        return ""
    try:
        return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, ValueError):  # a document may hold any number
        return f"{seconds:g} s after 1970"


def _latest(registry: Registry[VersionT], name: str, version: int) -> dict[str, Any]:
    try:
        found = registry.read(name, version)
    except DocumentError as error:
        return {"latest": version, "created_at": None, "size": None, "description": f"unusable: {error}"}
    return {
        "latest": version,
        "created_at": None if found is None else found.created_at,
        "size": None if found is None else found.size,
        "description": "" if found is None else found.description,
    }


def _lines(found: Found[VersionT], uri: str) -> Iterator[str]:
    version = found.version
    yield f"  registered   {moment(version.created_at)} by {version.registered_by}"
    if version.description:
        yield f"  description  {version.description}"
    yield f"  data         {uri}, {readable_size(version.size)}"
    yield f"  digest       {version.digest}"
    yield f"  datastore    {found.datastore.url}"
    if version.tags:
        yield f"  tags         {_pairs(version.tags)}"
    if version.lineage is not None:
        yield f"  made by      {version.lineage.producer}"
        yield f"  fingerprint  {version.lineage.fingerprint}"
        for name, pin in version.lineage.inputs.items():
            yield f"  from         {name}: {pin.kind} {pin}"


def _pairs(pairs: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in pairs.items())
