"""Taking outputs out of use, with a word that says why."""

from __future__ import annotations

from typing import Any

from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.invalidation import Invalidation, Invalidations
from airflow_mlpipe.store.layout import invalidation_key, manifest_key
from airflow_mlpipe.store.sealing import seal

FINGERPRINT = "ab" * 32


def test_invalidated_outputs_are_withdrawn_but_not_deleted(
    datastore: Datastore, make_manifest: Any, clock: Any
) -> None:
    manifest = seal(datastore, make_manifest(datastore))
    invalidations = Invalidations(datastore, clock)
    assert invalidations.invalidate(FINGERPRINT, "ann", "labels were wrong")
    assert not datastore.exists(manifest_key(FINGERPRINT))
    assert datastore.read(manifest.outputs["model"].key) == b"weights"
    assert invalidations.current(FINGERPRINT) == Invalidation(
        by="ann", at=clock.now, reason="labels were wrong"
    )


def test_what_is_not_there_cannot_be_invalidated_and_an_earlier_word_stays(
    datastore: Datastore, make_manifest: Any
) -> None:
    invalidations = Invalidations(datastore)
    assert not invalidations.invalidate(FINGERPRINT, "ann")
    assert invalidations.current(FINGERPRINT) is None
    seal(datastore, make_manifest(datastore))
    invalidations.invalidate(FINGERPRINT, "ann", "first")
    assert not invalidations.invalidate(FINGERPRINT, "ben", "second")
    said = invalidations.current(FINGERPRINT)
    assert said is not None
    assert said.reason == "first"


def test_what_was_sealed_after_it_was_seen_stays_and_nothing_is_said_of_it(
    datastore: Datastore, make_manifest: Any
) -> None:
    seen = make_manifest(datastore, "attempt-1").to_bytes()
    sealed = seal(datastore, make_manifest(datastore, "attempt-2"))
    invalidations = Invalidations(datastore)
    assert not invalidations.invalidate(FINGERPRINT, "ann", seen=seen)
    assert datastore.read(manifest_key(FINGERPRINT)) == sealed.to_bytes()
    assert invalidations.current(FINGERPRINT) is None


def test_a_forgotten_or_unreadable_word_is_none(datastore: Datastore, make_manifest: Any) -> None:
    invalidations = Invalidations(datastore)
    seal(datastore, make_manifest(datastore))
    invalidations.invalidate(FINGERPRINT, "ann")
    invalidations.forget(FINGERPRINT)
    assert invalidations.current(FINGERPRINT) is None
    datastore.write(invalidation_key(FINGERPRINT), b"{")
    assert invalidations.current(FINGERPRINT) is None
