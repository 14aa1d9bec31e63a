"""The parcel of an attempt: all that is handed to a machine which shares nothing with this one.

A parcel is three small files in a folder of the machine::

    runtime.json.gz    the runtime bundle: the texts of its modules by their paths
    spec.json.gz       the LaunchSpec
    private.json.gz    the Private document

A target delivers them by its own means, for the eyes of the step's user only, and runs :func:`boot_command`.
Everything else, code and data, the carrier (:mod:`airflow_mlpipe.carrier`) fetches from the datastore.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from airflow_mlpipe.errors import InfrastructureError, StepError, TargetError, UserError
from airflow_mlpipe.records import LaunchSpec, Private, to_json

RUNTIME = "runtime.json.gz"
SPEC = "spec.json.gz"
PRIVATE = "private.json.gz"

ROOT = "/mlpipe"
"""The folder in which an attempt lives in a container: its code, inputs, outputs and records."""

# Kubernetes refuses an object that is larger as a whole; a quarter of it is left for names and labels.
LARGEST_SECRET = 768 * 1024

_FAILURE = re.compile(r"mlpipe-carrier: (user|target|infrastructure): (.*)")
_KINDS: dict[str, type[StepError]] = {
    "user": UserError,
    "target": TargetError,
    "infrastructure": InfrastructureError,
}

# For any Python 3, so that one which is too old can say so. What lies in the working directory is not
# imported. A signal that comes before the carrier listens waits for it: the first process of a container
# would never hear of it otherwise.
_BOOT = r"""
import sys
sys.path[:] = [entry for entry in sys.path if entry]
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
import errno, gzip, json, os, pathlib
parcel, root = sys.argv[1:]
def refuse(why):
    print("mlpipe-carrier: target: " + why, flush=True)
    sys.exit(71)
if sys.version_info < (3, 10):
    refuse("%s is Python %d.%d; a step needs 3.10 or newer: choose another image, or its python"
           % ((sys.executable,) + sys.version_info[:2]))
runtime = os.path.join(root, "runtime")
try:
    with gzip.open(os.path.join(parcel, "runtime.json.gz")) as stream:
        modules = json.loads(stream.read().decode())
    for path, text in modules.items():
        path = os.path.join(runtime, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as stream:
            stream.write(text.encode())
    os.chdir(runtime)
except (OSError, EOFError) as error:
    full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
    refuse("the runtime cannot be unpacked in %s: %s; %s"
           % (root, error, "give it more disk space" if full else "let the step's user write there"))
sys.path.insert(0, runtime)
from airflow_mlpipe.carrier.carrier import main
sys.exit(main(pathlib.Path(parcel), pathlib.Path(root)))
"""


@dataclass(frozen=True)
class Parcel:
    """What is handed over for one attempt; ``contents`` are the bytes of its files by their names."""

    contents: dict[str, bytes] = field(repr=False)

    @classmethod
    def of(cls, spec: LaunchSpec, private: Private, bundle: Path) -> Parcel:
        """The parcel of the attempt with *spec*; *bundle* is the folder of the runtime bundle."""
        documents = {SPEC: spec, PRIVATE: private}
        packed = {
            name: gzip.compress(to_json(record).encode(), mtime=0) for name, record in documents.items()
        }
        return cls({RUNTIME: _packed_bundle(bundle), **packed})

    def files(self) -> dict[str, bytes]:
        """Its files by their names, as the data of a Secret takes them.

        Raises TargetError when they are more than a Secret can hold.
        """
        size = sum(map(len, self.contents.values()))
        if size > LARGEST_SECRET:
            raise TargetError(
                f"what has to be handed to the step takes {size} bytes, and a Secret holds {LARGEST_SECRET}; "
                "pass fewer values and environment variables, or let an input mount its files as one folder"
            )
        return dict(self.contents)

    def tar(self, folder: str, *, owner: int = 0, group: int = 0, empty_folders: Iterable[str] = ()) -> bytes:
        """A tar of the parcel's files in the folder *folder*, and of *empty_folders*, all below ``/``.

        Everything belongs to the user with the number *owner* and to *group*, and nobody else may look in.
        """
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:

            def add(path: str, content: bytes | None) -> None:
                member = tarfile.TarInfo(path.strip("/"))
                member.uid, member.gid = owner, group
                member.mode = 0o700 if content is None else 0o600
                member.type = tarfile.DIRTYPE if content is None else tarfile.REGTYPE
                member.size = len(content or b"")
                archive.addfile(member, io.BytesIO(content or b""))

            for path in (*empty_folders, folder):
                add(path, None)
            for name, content in self.contents.items():
                add(f"{folder}/{name}", content)
        return buffer.getvalue()


def boot_command(python: str, folder: str, root: str = ROOT) -> list[str]:
    """What runs an attempt whose parcel lies in *folder*, as arguments of a process.

    *python* is an interpreter of the machine, and *root* a folder there that the step's user may write to,
    or make; the attempt lives in it. The process ends with 0 once the attempt has a result.
    """
    return [python, "-X", "utf8", "-c", _BOOT, folder, root]


def carrier_failure(lines: Iterable[str]) -> StepError | None:
    """The failure that the carrier told in the last of the *lines* it printed; None when it told none."""
    last = None
    for line in lines:
        last = line if line.strip() else last
    found = _FAILURE.fullmatch((last or "").strip())
    return _KINDS[found[1]](found[2]) if found else None


@cache
def _packed_bundle(bundle: Path) -> bytes:
    """The modules in the folder *bundle*, whose name has its digest: equal bytes for equal modules."""
    modules = {
        path.relative_to(bundle).as_posix(): path.read_text("utf8") for path in sorted(bundle.rglob("*.py"))
    }
    return gzip.compress(json.dumps(modules, ensure_ascii=False).encode(), mtime=0)
