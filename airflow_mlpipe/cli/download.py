"""``airflow mlpipe download``: outputs of a step as files on this machine."""

from __future__ import annotations

import json
import re
from argparse import Namespace
from pathlib import Path
from typing import Any

from airflow_mlpipe.cli.command import command, results, say
from airflow_mlpipe.cli.selection import select
from airflow_mlpipe.errors import NotFoundError, StoreError
from airflow_mlpipe.pipeline.settings import Settings
from airflow_mlpipe.pipeline.stores import Stores
from airflow_mlpipe.store.atomic import arriving
from airflow_mlpipe.store.manifest import Manifest, ManifestOutput
from airflow_mlpipe.store.progress import Progress
from airflow_mlpipe.store.retrieval import retrieve

_FILE_NAME = re.compile(r"[\w][\w. -]{0,200}")


@command
def run(args: Namespace) -> None:
    """Fetch all that the step made, or what is named, and print where it is."""
    selected = select(Stores.open(Settings.read()), args.step)
    manifest = selected.manifest()
    outputs, values = _chosen(manifest, args.name)
    for output in outputs:
        destination = Path(args.to) / output.name
        progress = Progress(f"downloading {output.name}", say)
        retrieve(selected.datastore, output, destination, progress, replace=args.force)
        _print(destination)
    for name, value in values.items():
        if not _FILE_NAME.fullmatch(name):
            say(f"{name!r} cannot be the name of a file; `airflow mlpipe show {args.step}` has its value")
            continue
        destination = Path(args.to) / f"{name}.json"
        _write(destination, value, replace=args.force)
        _print(destination)


def _chosen(manifest: Manifest, name: str | None) -> tuple[list[ManifestOutput], dict[str, Any]]:
    """The outputs, and the small values that the manifest itself holds."""
    values = {} if manifest.returned is None else manifest.returned.values
    if name is None:
        return list(manifest.outputs.values()), values
    if name in manifest.outputs:
        return [manifest.outputs[name]], {}
    if name in values:
        return [], {name: values[name]}
    known = ", ".join([*manifest.outputs, *values]) or "none"
    raise NotFoundError(f"there is no output {name!r}; the step's outputs: {known}")


def _write(destination: Path, value: Any, *, replace: bool) -> None:
    if not replace and (destination.exists() or destination.is_symlink()):
        raise StoreError(f"{destination} is there already; choose another place, or replace it")
    try:
        with arriving(destination) as temporary:
            temporary.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise StoreError(f"{destination} cannot be written: {error}") from error


def _print(destination: Path) -> None:
    with results():
        print(destination)
