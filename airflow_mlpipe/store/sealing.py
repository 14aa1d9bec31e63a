"""Sealing: the moment at which outputs become real."""

from __future__ import annotations

import hashlib
from contextlib import suppress

from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.layout import manifest_key
from airflow_mlpipe.store.manifest import Manifest, parse_manifest
from airflow_mlpipe.store.signature import NO_KEYS, Keyring
from airflow_mlpipe.store.verification import verify

_SHOWN = 5


def seal(
    datastore: Datastore, manifest: Manifest, *, replaces: str | None = None, keyring: Keyring = NO_KEYS
) -> Manifest:
    """Write *manifest*, and return the one that now counts: this one, or an earlier one that won.

    The first seal wins. Given *replaces*, the SHA-256 of the manifest's bytes that were seen before the step
    ran ("" for none), exactly that one gives way, usable or not; one that was sealed since still wins.
    Output files on a local store become read-only first. What is written is signed by *keyring*, if that has
    keys, and so must be what wins.

    Raises StoreError when an output is missing or not as *manifest* describes it, ManifestUnusable when an
    unreadable manifest wins, or one without a due signature.
    """
    _check_outputs(datastore, manifest)
    for output in manifest.outputs.values():
        protect(datastore, output.key)
    manifest = manifest.signed(keyring)
    key, data = manifest_key(manifest.fingerprint), manifest.to_bytes()
    while not datastore.create(key, data):
        existing = datastore.read(key)
        if existing is None:
            continue
        if hashlib.sha256(existing).hexdigest() != replaces:
            return parse_manifest(existing, manifest.fingerprint, keyring)
        if datastore.swap(key, existing, data):
            break
    return manifest


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


def protect(datastore: Datastore, key: str) -> None:
    """Make the file or folder at *key* read-only, if it lies on a disk. Raises StoreError."""
    for file in datastore.files(key):
        path = datastore.local_path(file.key)
        if path is None:
            return
        # A container may have written as another user, whose files are beyond our reach anyway.
        with suppress(PermissionError):
            path.chmod(path.stat().st_mode & ~0o222)
