"""Looking for outputs that a fingerprint addresses, and for what to compare a recipe with."""

from __future__ import annotations

import time
from dataclasses import dataclass

from airflow_mlpipe.errors import DocumentError, StoreError
from airflow_mlpipe.model.reference import ProducerReference
from airflow_mlpipe.pipeline.identity import TaskIdentity
from airflow_mlpipe.pipeline.preparation import Preparation
from airflow_mlpipe.pipeline.settings import Settings
from airflow_mlpipe.reuse.decision import Candidate, Decision, Evidence, Policy, decide
from airflow_mlpipe.reuse.explain import Difference, differences
from airflow_mlpipe.reuse.recipe import Recipe
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.journal import Journal
from airflow_mlpipe.store.manifest import Manifest, ManifestMissing, ManifestUnusable, read_manifest
from airflow_mlpipe.store.verification import verify

# How many earlier recipes are read to find the one that differs least.
COMPARED = 10


@dataclass(frozen=True)
class Sensing:
    """What was found for a step and decided. ``manifest`` is that of verified outputs, or None."""

    decision: Decision
    manifest: Manifest | None


def sense(
    preparation: Preparation,
    policy: Policy,
    identity: TaskIdentity,
    settings: Settings,
    datastore: Datastore,
) -> Sensing:
    """Look the fingerprint up and decide. A store that cannot be read raises StoreError."""
    manifest, problems = _find(preparation.fingerprint, settings, datastore)
    evidence = Evidence(
        candidate=None if manifest is None else candidate_of(manifest),
        undetermined=preparation.undetermined,
        problems=problems,
        changes=_changes(preparation, identity, datastore) if manifest is None and not problems else (),
    )
    decision = decide(policy, evidence, time.time())
    return Sensing(decision, manifest if decision.action == "reuse" else None)


def candidate_of(manifest: Manifest) -> Candidate:
    """The manifest as the decision sees it."""
    return Candidate(str(producer_of(manifest)), manifest.sealed_at, manifest.seconds)


def producer_of(manifest: Manifest) -> ProducerReference:
    """The task instance that made the outputs."""
    made_by = manifest.producer
    return ProducerReference(
        dag_id=made_by.dag_id, run_id=made_by.run_id, task_id=made_by.task_id, map_index=made_by.map_index
    )


def _find(
    fingerprint: str, settings: Settings, datastore: Datastore
) -> tuple[Manifest | None, tuple[str, ...]]:
    """The manifest of verified outputs, or what speaks against the one that is there."""
    try:
        manifest = read_manifest(datastore, fingerprint)
    except ManifestMissing:
        return None, ()
    except ManifestUnusable as error:
        return None, (str(error),)
    damages = verify(datastore, manifest, settings.verify)
    if damages:
        whose = f"stored outputs of {producer_of(manifest)} are damaged"
        return None, tuple(f"{whose}: {damage.sentence()}" for damage in damages)
    return manifest, ()


def _changes(
    preparation: Preparation, identity: TaskIdentity, datastore: Datastore
) -> tuple[Difference, ...] | None:
    """How the recipe differs from the nearest of the task's latest ones; None when there is none."""
    recent = Journal(datastore).recent(identity.dag_id, identity.task_id, identity.map_index)
    if preparation.fingerprint in recent:
        return ()
    compared = []
    for fingerprint in recent[:COMPARED]:
        try:
            earlier = Recipe.from_document(read_manifest(datastore, fingerprint).recipe)
        except (ManifestMissing, DocumentError, StoreError):
            continue
        compared.append(differences(earlier, preparation.recipe))
    return min(compared, key=len, default=None)
