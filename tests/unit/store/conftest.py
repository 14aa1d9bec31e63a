"""Stores of each kind, a clock that is set by hand, and outputs with the manifest that describes them."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.folder import Folder
from airflow_mlpipe.store.layout import output_key
from airflow_mlpipe.store.listing import describe_output
from airflow_mlpipe.store.local_folder import LocalFolder
from airflow_mlpipe.store.manifest import Manifest, Producer
from airflow_mlpipe.store.remote_folder import RemoteFolder
from tests.services import ObjectStore
from tests.unit.store.faulty import FaultyFolder, Unreliable

FINGERPRINT = "ab" * 32

MakeManifest = Callable[..., Manifest]


@dataclass
class Clock:
    """Seconds since the epoch, moved by hand."""

    now: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@contextmanager
def folder_of(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Folder]:
    """A folder of the *kind*; every tenth call of the unreliable one fails in passing."""
    if kind in ("s3", "blob"):
        service: ObjectStore = request.getfixturevalue(kind)
        yield RemoteFolder(f"{service.url}/store", dict(service.options))
    elif kind == "memory":
        memory = RemoteFolder(f"memory://{uuid.uuid4().hex}", {})
        yield memory
        memory.delete_tree("")
    else:
        local = LocalFolder(tmp_path / "store")
        yield local if kind == "local" else FaultyFolder(local, Unreliable(seed=7))


@pytest.fixture(params=["local", "memory", "unreliable", "s3", "blob"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Folder]:
    """A folder of each kind."""
    with folder_of(request.param, request, tmp_path) as folder:
        yield folder


@pytest.fixture
def datastore(folder: Folder) -> Datastore:
    return Datastore(folder, pause=lambda seconds: None)


@pytest.fixture
def local(tmp_path: Path) -> Datastore:
    return Datastore.open(str(tmp_path / "store"))


@pytest.fixture
def make_manifest(tmp_path: Path) -> MakeManifest:
    """Uploads outputs of an attempt, folders of ``{path: bytes}`` or single files, and describes them."""

    def make(
        datastore: Datastore,
        attempt: str = "attempt-1",
        outputs: dict[str, bytes | dict[str, bytes]] | None = None,
        **fields: Any,
    ) -> Manifest:
        described = {}
        for name, content in (outputs or {"model": b"weights"}).items():
            source = tmp_path / "made" / uuid.uuid4().hex
            for path, data in {"": content}.items() if isinstance(content, bytes) else content.items():
                (source / path).parent.mkdir(parents=True, exist_ok=True)
                (source / path).write_bytes(data)
            key = output_key(attempt, name)
            datastore.upload(source, key)
            described[name] = describe_output(datastore, attempt, name, source)
        values: dict[str, Any] = {
            "schema_version": 1,
            "fingerprint": FINGERPRINT,
            "recipe": {"step": {"kind": "python_script"}},
            "outputs": described,
            "results": {},
            "parent_metrics": {},
            "tags": {},
            "producer": Producer(
                dag_id="retrain",
                run_id="manual",
                task_id="train",
                map_index=-1,
                try_number=1,
                attempt=attempt,
                experiment="retrain",
                host="worker",
            ),
            "started_at": 100.0,
            "finished_at": 160.0,
            "sealed_at": 161.0,
            "snapshot": None,
            "provider_version": "1.0.0",
        }
        return Manifest(**{**values, **fields})

    return make
