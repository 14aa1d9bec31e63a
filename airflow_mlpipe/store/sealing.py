"""Sealing: the moment at which outputs become real."""

from __future__ import annotations

from contextlib import suppress

from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.layout import manifest_key
from airflow_mlpipe.store.manifest import Manifest, ManifestUnusable, parse_manifest
from airflow_mlpipe.store.verification import verify

_SHOWN = 5


def seal(datastore: Datastore, manifest: Manifest, *, replace: bool = False) -> Manifest:
    """Write *manifest*, and return the one that now counts: this one, or an earlier one that won.

    The first seal wins. With *replace*, an existing manifest gives way if it is unusable, if its outputs are
    damaged, or if it was there before this attempt started; one that somebody sealed while this attempt ran
    still wins. Output files on a local store become read-only first.

    Raises StoreError when an output is missing or not as *manifest* describes it, ManifestUnusable when an
    unreadable manifest is in the way and *replace* is not given.
    """
    _check_outputs(datastore, manifest)
    _protect_outputs(datastore, manifest)
    key, data = manifest_key(manifest.fingerprint), manifest.to_bytes()
    while not datastore.create(key, data):
        existing = datastore.read(key)
        if existing is None:
            continue
        if (winner := _winner(datastore, existing, manifest, replace=replace)) is not None:
            return winner
        if datastore.swap(key, existing, data):
            break
    return manifest


def _winner(datastore: Datastore, existing: bytes, ours: Manifest, *, replace: bool) -> Manifest | None:
    """The manifest in *existing* if it stays, None if ours takes its place."""
    try:
        theirs = parse_manifest(existing, ours.fingerprint)
    except ManifestUnusable:
        if not replace:
            raise
        return None
    if replace and (theirs.sealed_at <= ours.started_at or verify(datastore, theirs, "size")):
        return None
    return theirs


def _check_outputs(datastore: Datastore, manifest: Manifest) -> None:
    damages = verify(datastore, manifest, "size")
    if not damages:
        return
    shown = "; ".join(damage.sentence() for damage in damages[:_SHOWN])
    more = f"; and {len(damages) - _SHOWN} more" if len(damages) > _SHOWN else ""
    raise StoreError(
        f"cannot seal {manifest.fingerprint}: {shown}{more}; outputs must lie in the store as plain files "
        "(a symbolic link to elsewhere is none) and stay as they are once the step has ended"
    )


def _protect_outputs(datastore: Datastore, manifest: Manifest) -> None:
    for output in manifest.outputs.values():
        for file in datastore.files(output.key):
            path = datastore.local_path(file.key)
            if path is None:
                return
            # A container may have written as another user, whose files are beyond our reach anyway.
            with suppress(PermissionError):
                path.chmod(path.stat().st_mode & ~0o222)
