"""Whether the outputs that a manifest promises are still there, unharmed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.manifest import Manifest, ManifestOutput

Level = Literal["size", "digest", "none"]


@dataclass(frozen=True)
class Damage:
    """One thing wrong with one file of an output; *path* is relative to a folder output, "" is all of it."""

    output: str
    path: str
    problem: str

    def sentence(self) -> str:
        """For the log: ``output 'model': weights.bin is missing``, ``output 'model' is missing``."""
        return f"output {self.output!r}{self.path and f': {self.path}'} {self.problem}"


def verify(datastore: Datastore, manifest: Manifest, level: Level) -> tuple[Damage, ...]:
    """What is wrong with the outputs of *manifest*, in order of output and path; empty when all is well.

    "size" lists the files: missing, of another size, or not of this output. "digest" also reads all bytes
    anew. "none" trusts. Raises StoreError when the store cannot be read.
    """
    if level == "none":
        return ()
    return tuple(
        damage
        for _, output in sorted(manifest.outputs.items())
        for damage in _damages(datastore, output, read=level == "digest")
    )


def _damages(datastore: Datastore, output: ManifestOutput, *, read: bool) -> Iterator[Damage]:
    promised = _promised(output)
    found = {file.key: file.size for file in datastore.files(output.key)}
    for key in sorted({*promised, *found}):
        path = key.removeprefix(output.key).lstrip("/")
        if key not in promised:
            yield Damage(output.name, path, "is not part of it")
        elif key not in found:
            yield Damage(output.name, path, "is missing")
        elif found[key] != promised[key][0]:
            yield Damage(output.name, path, f"has {found[key]} bytes instead of {promised[key][0]}")
        elif read and (digest := datastore.digest(key)) != promised[key][1]:
            yield Damage(output.name, path, f"has SHA-256 {digest} instead of {promised[key][1]}")
    if output.kind == "directory" and not promised and not found and _is_gone(datastore, output):
        yield Damage(output.name, "", "is missing")


def _promised(output: ManifestOutput) -> dict[str, tuple[int, str]]:
    """Size and digest by key."""
    if output.kind == "file":
        return {output.key: (output.size, output.digest)}
    return {f"{output.key}/{entry.path}": (entry.size, entry.digest) for entry in output.entries}


def _is_gone(datastore: Datastore, output: ManifestOutput) -> bool:
    """Whether a folder without files is missing; a remote store cannot tell, so there it never is."""
    path = datastore.local_path(output.key)
    return path is not None and not path.is_dir()
