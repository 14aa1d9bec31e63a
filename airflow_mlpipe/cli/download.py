"""``airflow mlpipe download``: outputs of a step as files on this machine."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from airflow_mlpipe.cli.command import command, results, say
from airflow_mlpipe.cli.selection import select
from airflow_mlpipe.errors import NotFoundError
from airflow_mlpipe.pipeline.settings import Settings
from airflow_mlpipe.pipeline.stores import Stores
from airflow_mlpipe.store.manifest import Manifest, ManifestOutput
from airflow_mlpipe.store.progress import Progress
from airflow_mlpipe.store.retrieval import retrieve


@command
def run(args: Namespace) -> None:
    """Fetch all outputs, or the one that is named, and print where they are."""
    selected = select(Stores.open(Settings.read()), args.step)
    for output in _chosen(selected.manifest(), args.name):
        destination = Path(args.to) / output.name
        progress = Progress(f"downloading {output.name}", say)
        retrieve(selected.datastore, output, destination, progress, replace=args.force)
        with results():
            print(destination)


def _chosen(manifest: Manifest, name: str | None) -> list[ManifestOutput]:
    if name is None:
        return list(manifest.outputs.values())
    if name not in manifest.outputs:
        known = ", ".join(manifest.outputs) or "none"
        raise NotFoundError(f"there is no output {name!r}; the step's outputs: {known}")
    return [manifest.outputs[name]]
