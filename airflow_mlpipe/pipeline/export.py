"""Copies of finished outputs at the destinations that their authors chose."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from airflow_mlpipe.model.data import OutputFileDatasetConfig, StepOutput
from airflow_mlpipe.pipeline.destinations import destination_url
from airflow_mlpipe.pipeline.identity import TaskIdentity
from airflow_mlpipe.pipeline.outcome import Outcome
from airflow_mlpipe.pipeline.settings import Settings
from airflow_mlpipe.pipeline.stores import Stores
from airflow_mlpipe.pipeline.worker import hash_cache
from airflow_mlpipe.store.progress import Progress, readable_size
from airflow_mlpipe.store.remote_digests import RemoteDigests
from airflow_mlpipe.store.transfer.copying import copy_tree

log = logging.getLogger(__name__)


def export(
    outcome: Outcome,
    outputs: Iterable[StepOutput],
    identity: TaskIdentity,
    stores: Stores,
    settings: Settings,
) -> None:
    """Copy the outputs that have a destination there, file by file.

    A file that is there with the same content is passed over, another one of the same name is replaced;
    nothing else that lies there is touched, let alone removed. Raises StoreError, also as
    ``destination_url``.
    """
    for output in outputs:
        if not isinstance(output, OutputFileDatasetConfig) or output.destination is None:
            continue
        place = output.destination.replace("{run-id}", identity.run_id)
        place = place.replace("{output-name}", output.name)
        url = destination_url(place, stores)
        made = outcome.manifest.outputs[output.name]
        if not made.entries and made.listing is None:
            log.info("Output %s has no files to copy to %s", output.name, place)
            continue
        progress = Progress(f"copying output {output.name} to {place}", log.info)
        with hash_cache(settings) as cache:
            sources = {"": outcome.datastore.uri(made.key)}
            report = copy_tree(sources, url, progress, digests=RemoteDigests(cache))
        log.info(
            "Copied output %s to %s: %d files (%s); %d were there already",
            output.name,
            place,
            report.copied,
            readable_size(report.bytes),
            report.skipped,
        )
