"""Copies of finished outputs at the destinations that their authors chose."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable
from pathlib import Path

from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.model.data import OutputFileDatasetConfig, StepOutput
from airflow_mlpipe.pipeline.identity import TaskIdentity
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.layout import ROOT
from airflow_mlpipe.store.manifest import Manifest
from airflow_mlpipe.store.progress import Progress

log = logging.getLogger(__name__)


def export(
    manifest: Manifest, outputs: Iterable[StepOutput], identity: TaskIdentity, datastore: Datastore
) -> None:
    """Copy the outputs that have a destination there, file by file.

    A file of the same name is replaced; nothing else that lies there is touched, let alone removed. Raises
    StoreError, also for a destination among the datastore's own files.
    """
    for output in outputs:
        if not isinstance(output, OutputFileDatasetConfig) or output.destination is None:
            continue
        place = output.destination.replace("{run-id}", identity.run_id)
        place = place.replace("{output-name}", output.name).rstrip("/")
        target, folder = _target(place, datastore)
        progress = Progress(f"copying output {output.name} to {place}", log.info)
        _copy_files(datastore, manifest.outputs[output.name].key, target, folder, progress)
        log.info("Copied output %s to %s", output.name, place)


def _target(place: str, datastore: Datastore) -> tuple[Datastore, str]:
    """The datastore and the key that a destination names."""
    if "://" in place or place.startswith("/"):
        parent, _, leaf = place.rpartition("/")
        target, key = Datastore.open(parent or "/"), leaf
    else:
        target, key = datastore, place
    uri, own = target.uri(key), datastore.uri(ROOT.partition("/")[0])
    if uri == own or uri.startswith(f"{own}/"):
        raise StoreError(f"the destination {place!r} lies among the datastore's own files; choose another")
    return target, key


def _copy_files(source: Datastore, key: str, target: Datastore, folder: str, progress: Progress) -> None:
    files = list(source.files(key))
    progress.expect(sum(file.size for file in files))
    with tempfile.TemporaryDirectory(prefix="mlpipe-") as scratch:
        for file in files:
            path = source.local_path(file.key)
            if path is None:
                path = Path(scratch) / "file"
                source.download(file.key, path)
            target.upload(path, f"{folder}/{file.key.removeprefix(key).lstrip('/')}")
            progress.advance(file.size)
