"""The runtime bundle: the part of this package that runs beside a step, in a folder of its own.

::

    <cache>/runtime-<digest>/
      airflow_mlpipe/            ``python -m airflow_mlpipe.runtime`` works here, and so does the carrier
      fallback/airflow_mlpipe.py what a step's PYTHONPATH leads to

It is the part of the package that needs the standard library only (and fsspec with its driver, for a
datastore on a server).

A folder on PYTHONPATH comes before an interpreter's installed packages, and the bundle is only a part of
the package. So the step's path gets the stand-in of ``fallback``: when imported, it looks for an installed
airflow_mlpipe first, and only without one for the bundle's.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import airflow_mlpipe
from airflow_mlpipe.store.atomic import temporary_beside

PACKAGE = Path(airflow_mlpipe.__file__).parent
MODULES = ("__init__.py", "version.py", "errors.py", "access.py", "handing.py", "records.py")
FOLDERS = ("runtime", "carrier")
# Of the store, what moves files. The rest of it knows manifests, and needs pydantic.
STORE = (
    *("__init__", "atomic", "cloning", "datastore", "digest", "download_cache", "driver_listing", "facts"),
    *("folder", "hash_cache", "hashing", "layout", "local_folder", "parallel", "patterns", "progress"),
    *("remote_digests", "remote_folder", "remote_listing", "snapshot", "transient", "tree"),
    *("objects/__init__", "objects/any_driver", "objects/azure", "objects/choice", "objects/contract"),
    *("objects/google", "objects/many", "objects/paths", "objects/s3"),
    *("transfer/__init__", "transfer/blob", "transfer/budget", "transfer/download", "transfer/google"),
    *("transfer/landing", "transfer/origin", "transfer/presence", "transfer/reading"),
    *("transfer/remote_file", "transfer/s3", "transfer/server", "transfer/servers", "transfer/sftp"),
    "transfer/upload",
)

STAND_IN = '''\
"""Leads ``import airflow_mlpipe`` to the installed package, else to the part of it that lies beside."""

import importlib
import os
import sys

here = os.path.dirname(os.path.abspath(__file__))
sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry) != here]
sys.path.append(os.path.dirname(here))
del sys.modules[__name__]
importlib.import_module(__name__)
'''


def runtime_bundle(cache: Path) -> Path:
    """The bundle of this version's runtime below *cache*, which is made when it is missing.

    Any number of processes may call this at once. Raises OSError when *cache* cannot be written.
    """
    files = _files()
    bundle = cache / f"runtime-{_digest(files)}"
    if bundle.is_dir():
        return bundle
    with temporary_beside(bundle) as draft:
        for name, content in files.items():
            path = draft / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        try:
            draft.rename(bundle)
        except OSError:  # another process was faster: what it made is the same
            if not bundle.is_dir():
                raise
    return bundle


def _files() -> dict[str, bytes]:
    folders = (path for folder in FOLDERS for path in sorted((PACKAGE / folder).rglob("*.py")))
    store = (PACKAGE / f"store/{name}.py" for name in STORE)
    modules = [*(PACKAGE / name for name in MODULES), *folders, *store]
    files = {f"airflow_mlpipe/{path.relative_to(PACKAGE).as_posix()}": path.read_bytes() for path in modules}
    return {**files, "fallback/airflow_mlpipe.py": STAND_IN.encode()}


def _digest(files: dict[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name, content in sorted(files.items()):
        for part in (name.encode(), content):
            digest.update(f"{len(part)}:".encode())
            digest.update(part)
    return digest.hexdigest()[:16]
