"""``airflow mlpipe outputs``: where the outputs of a step lie, and what they hold."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from typing import Any

from airflow_mlpipe.cli.artifacts import artifact_in
from airflow_mlpipe.cli.command import command
from airflow_mlpipe.cli.output import print_rows
from airflow_mlpipe.cli.selection import Selected, select
from airflow_mlpipe.pipeline.settings import Settings
from airflow_mlpipe.pipeline.stores import Stores
from airflow_mlpipe.store.progress import readable_size


@command
def run(args: Namespace) -> None:
    """List the outputs; with ``--files`` also the files of folders."""
    selected = select(Stores.open(Settings.read()), args.step)
    rows = list(_rows(selected, files=args.files))
    if args.output == "table":
        rows = [{**row, "size": readable_size(row["size"])} for row in rows]
    print_rows(rows, args.output)


def _rows(selected: Selected, *, files: bool) -> Iterator[dict[str, Any]]:
    from airflow_mlpipe.store.listing import entries_of

    manifest = selected.manifest()
    for output in manifest.outputs.values():
        artifact = artifact_in(selected.datastore, manifest, output)
        yield {
            "name": output.name,
            "kind": output.kind,
            "format": None if artifact is None else artifact.format,
            "type": None if artifact is None else artifact.type,
            "size": output.size,
            "sha256": output.digest,
            "uri": selected.datastore.uri(output.key),
        }
        for entry in entries_of(selected.datastore, output) if files and output.kind == "directory" else ():
            yield {
                "name": f"{output.name}/{entry.path}",
                "kind": "file",
                "format": None,
                "type": None,
                "size": entry.size,
                "sha256": entry.digest,
                "uri": selected.datastore.uri(f"{output.key}/{entry.path}"),
            }
