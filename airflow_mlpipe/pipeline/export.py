"""Copies of finished outputs at the destinations that their authors chose."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable
from pathlib import Path

from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.model.data import OutputFileDatasetConfig, StepOutput
from airflow_mlpipe.pipeline.identity import TaskIdentity
from airflow_mlpipe.pipeline.outcome import Outcome
from airflow_mlpipe.pipeline.settings import NAMESPACES
from airflow_mlpipe.pipeline.stores import Stores
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.layout import ROOT
from airflow_mlpipe.store.progress import Progress

log = logging.getLogger(__name__)

# What a datastore keeps for itself, directly below it.
_RESERVED = (ROOT.partition("/")[0], NAMESPACES)


def export(outcome: Outcome, outputs: Iterable[StepOutput], identity: TaskIdentity, stores: Stores) -> None:
    """Copy the outputs that have a destination there, file by file.

    A relative destination starts at the deployment's own datastore. A file of the same name is replaced;
    nothing else that lies there is touched, let alone removed. Raises StoreError, also for a destination in a
    datastore that this deployment only reads, or among the files that datastores keep for themselves.
    """
    for output in outputs:
        if not isinstance(output, OutputFileDatasetConfig) or output.destination is None:
            continue
        place = output.destination.replace("{run-id}", identity.run_id)
        place = place.replace("{output-name}", output.name).rstrip("/")
        target, folder = _target(place, stores)
        progress = Progress(f"copying output {output.name} to {place}", log.info)
        key = outcome.manifest.outputs[output.name].key
        _copy_files(outcome.datastore, key, target, folder, progress)
        log.info("Copied output %s to %s", output.name, place)


def _target(place: str, stores: Stores) -> tuple[Datastore, str]:
    """The datastore and the key that a destination names."""
    if "://" in place or place.startswith("/"):
        parent, _, leaf = place.rpartition("/")
        target, key = Datastore.open(parent or "/"), leaf
    else:
        target, key = stores.own, place
    uri = target.uri(key)
    around = [store for store in stores if f"{uri}/".startswith(f"{store.url}/")]
    if not around:
        return target, key
    nearest = max(around, key=lambda store: len(store.url))
    if nearest is not stores.own:
        raise StoreError(
            f"the destination {place!r} lies in {nearest.url}, to which nothing is written; choose another"
        )
    inside = uri.removeprefix(nearest.url).lstrip("/")
    if not inside or inside.partition("/")[0] in _RESERVED:
        raise StoreError(f"the destination {place!r} lies among a datastore's own files; choose another")
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
