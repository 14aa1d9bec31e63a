"""Which of a step's outputs are values that its function returned, and of what kind they are."""

from __future__ import annotations

from airflow_mlpipe.errors import DocumentError
from airflow_mlpipe.records import from_json
from airflow_mlpipe.runtime.artifacts.artifact import DESCRIPTOR, ArtifactDescriptor
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.manifest import Manifest, ManifestOutput


def artifact_in(
    datastore: Datastore, manifest: Manifest, output: ManifestOutput
) -> ArtifactDescriptor | None:
    """The descriptor of an output that was returned; None for one that was written, or is damaged."""
    if manifest.returned is None or output.name not in manifest.returned.artifacts:
        return None
    data = datastore.read(f"{output.key}/{DESCRIPTOR}")
    try:
        return None if data is None else from_json(ArtifactDescriptor, data)
    except DocumentError:
        return None
