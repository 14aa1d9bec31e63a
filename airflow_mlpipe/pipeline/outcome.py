"""What a step hands on, whoever made it."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_mlpipe.reuse.decision import Decision
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.manifest import Manifest


@dataclass(frozen=True)
class Outcome:
    """Outputs in ``datastore``, described by ``manifest``; when ``sealed``, other runs may reuse them.

    ``doubt`` is why nothing of them may be registered either, in a few words: inputs changed under the step.
    """

    decision: Decision
    manifest: Manifest
    datastore: Datastore
    sealed: bool
    doubt: str | None = None
