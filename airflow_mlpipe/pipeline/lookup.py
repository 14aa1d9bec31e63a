"""Looking for outputs that a fingerprint addresses, and for what to compare a recipe with."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.pipeline.identity import TaskIdentity
from airflow_mlpipe.pipeline.outcome import Outcome
from airflow_mlpipe.pipeline.preparation import Preparation
from airflow_mlpipe.pipeline.recipes import recipe_of
from airflow_mlpipe.pipeline.settings import Settings
from airflow_mlpipe.pipeline.stores import Stores
from airflow_mlpipe.pipeline.worker import hash_cache
from airflow_mlpipe.reuse.decision import (
    Candidate,
    Decision,
    Evidence,
    Policy,
    decide,
    is_too_old,
    reasons_against,
)
from airflow_mlpipe.reuse.explain import Difference, differences
from airflow_mlpipe.reuse.phrases import span
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.invalidation import Invalidations
from airflow_mlpipe.store.journal import Journal
from airflow_mlpipe.store.layout import manifest_key
from airflow_mlpipe.store.manifest import (
    Manifest,
    ManifestMissing,
    ManifestUnusable,
    parse_manifest,
    read_manifest,
)
from airflow_mlpipe.store.signature import Keyring
from airflow_mlpipe.store.verification import verify

log = logging.getLogger(__name__)

# How many earlier recipes are read to find the one that differs least.
COMPARED = 10


@dataclass(frozen=True)
class Sensing:
    """What was found for a step and decided.

    ``manifest`` is that of verified outputs in ``datastore``, or None. ``seen`` is the SHA-256 of the
    manifest that lay in the deployment's own store, whatever it was worth, "" for none. ``compared_with`` is
    the fingerprint of the nearest earlier recipe, when the decision rests on one.
    """

    decision: Decision
    manifest: Manifest | None
    datastore: Datastore
    seen: str
    compared_with: str | None

    def reused(self) -> Outcome:
        """The outputs that were found, for a decision to reuse."""
        assert self.manifest is not None
        return Outcome(self.decision, self.manifest, self.datastore, sealed=True)


def sense(
    preparation: Preparation, policy: Policy, identity: TaskIdentity, settings: Settings, stores: Stores
) -> Sensing:
    """Look the fingerprint up and decide. A store that cannot be read raises StoreError.

    A signing key that cannot be had raises as ``keyring_at`` does, whatever is stored: it must not be missed
    when hours of work are to be sealed.
    """
    fingerprint, keyring = preparation.fingerprint, stores.keyring
    if reasons_against(policy, preparation.undetermined):
        evidence = Evidence(undetermined=preparation.undetermined)
        seen = _digest(stores.own.read(manifest_key(fingerprint)))
        return Sensing(decide(policy, evidence, time.time()), None, stores.own, seen, None)
    found = _find(fingerprint, policy, settings, stores, keyring)
    compared_with, changes, invalidated = None, None, None
    if found.manifest is None and not found.problems:
        compared_with, changes = _nearest(preparation, identity, stores)
        invalidated = _invalidated(fingerprint, stores.own)
    evidence = Evidence(
        candidate=None if found.manifest is None else candidate_of(found.manifest),
        problems=found.problems if found.manifest is None else (),
        invalidated=invalidated,
        changes=changes,
        remarks=preparation.binding.remarks,
    )
    decision = decide(policy, evidence, time.time())
    if decision.action == "run":
        return Sensing(decision, None, stores.own, found.seen, compared_with)
    for problem in found.problems:
        log.warning("Passed over: %s", problem)
    return Sensing(decision, found.manifest, found.datastore, found.seen, None)


def last_made(dag_id: str, task_id: str, map_index: int, stores: Stores) -> tuple[Datastore, Manifest] | None:
    """The outputs that a task made or reused last, of those with a manifest; None when there are none.

    Whether they are whole is not looked at. Raises StoreError.
    """
    recent = Journal(stores.own).recent(dag_id, task_id, map_index)
    found = (readable_manifest(fingerprint, stores) for fingerprint in recent)
    return next(filter(None, found), None)


def readable_manifest(fingerprint: str, stores: Stores) -> tuple[Datastore, Manifest] | None:
    """The first manifest of *fingerprint* that can be read, and where; None for none. Raises StoreError."""
    for datastore in stores:
        try:
            return datastore, read_manifest(datastore, fingerprint)
        except (ManifestMissing, ManifestUnusable):
            continue
    return None


def candidate_of(manifest: Manifest) -> Candidate:
    """The manifest as the decision sees it."""
    return Candidate(manifest.producer.step, manifest.sealed_at, manifest.seconds, manifest.cost)


@dataclass(frozen=True)
class _Found:
    """The manifest of verified outputs if any, and what speaks against those that were met before it."""

    datastore: Datastore
    manifest: Manifest | None
    problems: tuple[str, ...]
    seen: str


def _find(fingerprint: str, policy: Policy, settings: Settings, stores: Stores, keyring: Keyring) -> _Found:
    """The first usable outputs that are young enough, else the first that are too old, else the problems."""
    seen, problems = "", []
    old: tuple[Datastore, Manifest] | None = None
    for datastore, data in _sealed(fingerprint, stores):
        if datastore is stores.own:
            seen = _digest(data)
        manifest, damages = _verified(datastore, data, fingerprint, settings, keyring)
        problems += damages
        if manifest is None:
            continue
        if not is_too_old(policy, manifest.sealed_at, time.time()):
            return _Found(datastore, manifest, tuple(problems), seen)
        old = old or (datastore, manifest)
    if old is not None:
        return _Found(*old, tuple(problems), seen)
    return _Found(stores.own, None, tuple(problems), seen)


def _sealed(fingerprint: str, stores: Stores) -> Iterator[tuple[Datastore, bytes]]:
    """What is sealed under *fingerprint*, this deployment's own first.

    Outputs of other stores cannot be withdrawn there. What was said of them in the own store stands until the
    step has been run here.
    """
    key = manifest_key(fingerprint)
    if (data := stores.own.read(key)) is not None:
        yield stores.own, data
    if not stores.others:
        return
    said = Invalidations(stores.own).current(fingerprint)
    if said is not None and said.distrusts:
        return
    for datastore in stores.others:
        if (data := datastore.read(key)) is not None:
            yield datastore, data


def _digest(data: bytes | None) -> str:
    return "" if data is None else hashlib.sha256(data).hexdigest()


def _verified(
    datastore: Datastore, data: bytes, fingerprint: str, settings: Settings, keyring: Keyring
) -> tuple[Manifest | None, list[str]]:
    try:
        manifest = parse_manifest(data, fingerprint, keyring)
    except ManifestUnusable as error:
        return None, [str(error)]
    with hash_cache(settings) as cache:
        damages = verify(datastore, manifest, settings.verify, cache)
    whose = f"stored outputs of {manifest.producer.step} are damaged"
    problems = [f"{whose}: {damage.sentence()}" for damage in damages]
    return (None if problems else manifest), problems


def _nearest(
    preparation: Preparation, identity: TaskIdentity, stores: Stores
) -> tuple[str | None, tuple[Difference, ...] | None]:
    """The nearest of the task's latest recipes, and how this one differs; twice None when there is none.

    The latest are those of the first store that knows any: a deployment that is new is told of its elders.
    For an instance of a mapped task they are those of its index, and those with its values at any index: when
    something is put in front of what is mapped over, all others have another index.
    """
    task, values = (identity.dag_id, identity.task_id), preparation.recipe.values_digest()
    recent = _first(Journal(store).recent(*task, identity.map_index) for store in stores)
    alike = _first(Journal(store).with_values(*task, values) for store in stores if identity.map_index >= 0)
    if preparation.fingerprint in (*recent, *alike):
        return preparation.fingerprint, ()
    latest = dict.fromkeys((*alike[:COMPARED], *recent[:COMPARED]))
    return min(_compared(latest, preparation, stores), key=lambda pair: len(pair[1]), default=(None, None))


def _first(found: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return next(filter(None, found), ())


def _compared(
    fingerprints: Iterable[str], preparation: Preparation, stores: Stores
) -> Iterator[tuple[str, tuple[Difference, ...]]]:
    for fingerprint in fingerprints:
        try:
            known = (recipe_of(store, fingerprint) for store in stores)
            earlier = next((recipe for recipe in known if recipe is not None), None)
        except StoreError:
            continue
        if earlier is not None:
            yield fingerprint, differences(earlier, preparation.recipe)


def _invalidated(fingerprint: str, datastore: Datastore) -> str | None:
    said = Invalidations(datastore).current(fingerprint)
    if said is None:
        return None
    because = f": {said.reason}" if said.reason else ""
    return f"its outputs were invalidated by {said.by} {span(max(0.0, time.time() - said.at))} ago{because}"
