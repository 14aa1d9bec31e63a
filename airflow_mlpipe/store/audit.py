"""Checking many manifests and their outputs, one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.layout import manifest_key, steps_prefix
from airflow_mlpipe.store.manifest import Manifest, ManifestUnusable, parse_manifest
from airflow_mlpipe.store.signature import NO_KEYS, Keyring
from airflow_mlpipe.store.verification import Level, verify


@dataclass(frozen=True)
class Verdict:
    """What is wrong with one manifest and its outputs, in sentences. *size* is in bytes.

    *seen* are the bytes of the manifest that was judged. *dag_id* and *step* are "" when it cannot be read.
    """

    fingerprint: str
    seen: bytes
    dag_id: str
    step: str
    outputs: int
    size: int
    problems: tuple[str, ...]

    def as_document(self) -> dict[str, Any]:
        """As JSON."""
        return {"fingerprint": self.fingerprint, "step": self.step, "problems": list(self.problems)}


@dataclass
class Audit:
    """Totals over verdicts; sizes in bytes."""

    manifests: int = 0
    outputs: int = 0
    size: int = 0

    def count(self, verdict: Verdict) -> None:
        """Add one verdict."""
        self.manifests += 1
        self.outputs += verdict.outputs
        self.size += verdict.size

    def as_document(self) -> dict[str, Any]:
        """As JSON."""
        return {"manifests": self.manifests, "outputs": self.outputs, "size": self.size}


def audit(
    datastore: Datastore,
    level: Level,
    fingerprints: Iterable[str] | None = None,
    keyring: Keyring = NO_KEYS,
) -> Iterator[Verdict]:
    """A verdict on each of *fingerprints*, or on everything that is sealed in *datastore*.

    Should *keyring* have keys, a manifest that is not signed by one of them is a problem as well.
    Only one manifest is in memory at a time. Raises StoreError when the store cannot be read.
    """
    for fingerprint in sealed_fingerprints(datastore) if fingerprints is None else fingerprints:
        seen = datastore.read(manifest_key(fingerprint))
        if seen is None:
            continue
        try:
            manifest = parse_manifest(seen, fingerprint)
        except ManifestUnusable as error:
            yield Verdict(fingerprint, seen, "", "", 0, 0, (str(error),))
            continue
        doubt = manifest.doubt(keyring)
        doubts = () if doubt is None else (f"its manifest cannot be used: {doubt}",)
        damages = verify(datastore, manifest, level)
        yield _verdict(manifest, seen, (*doubts, *(damage.sentence() for damage in damages)))


def sealed_fingerprints(datastore: Datastore) -> Iterator[str]:
    """The fingerprint of every manifest, readable or not, in order."""
    for digits in (f"{number:02x}" for number in range(256)):
        for file in datastore.files(steps_prefix(digits)):
            fingerprint = file.key.split("/")[-2]
            if file.key == f"{steps_prefix(digits)}/{fingerprint}/manifest.json":
                yield fingerprint


def _verdict(manifest: Manifest, seen: bytes, problems: tuple[str, ...]) -> Verdict:
    outputs = manifest.outputs.values()
    return Verdict(
        manifest.fingerprint,
        seen,
        manifest.producer.dag_id,
        manifest.producer.step,
        len(outputs),
        sum(output.size for output in outputs),
        problems,
    )
