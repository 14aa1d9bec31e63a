"""A worker whose data lies on an object store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from airflow_mlpipe.access import Access, as_it_is, resolve_with
from airflow_mlpipe.model.inputs import AccessMode, TabularFormat
from airflow_mlpipe.model.reference import PipelineDataReference
from airflow_mlpipe.pipeline.binding import BoundInput
from airflow_mlpipe.pipeline.remote_inputs import RemoteInputs
from airflow_mlpipe.pipeline.settings import MountPolicy
from airflow_mlpipe.pipeline.staging import Staging
from airflow_mlpipe.pipeline.stores import Stores
from airflow_mlpipe.pipeline.traces import Traces
from airflow_mlpipe.runtime.partition_format import PartitionFormat
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.download_cache import DownloadCache
from airflow_mlpipe.store.hash_cache import HashCache
from airflow_mlpipe.store.layout import output_key
from airflow_mlpipe.store.listing import describe_output
from airflow_mlpipe.store.progress import Progress
from airflow_mlpipe.store.sealing import seal
from airflow_mlpipe.store.sources import Source, SourceFinder
from tests.services import ObjectStore
from tests.unit.pipeline.sealed import manifest_of, prepared


@dataclass
class Worker:
    """A worker with *bucket*, of which it has a download cache; each input is staged for an attempt."""

    bucket: ObjectStore
    folder: Path
    moved: int = 0
    _attempts: int = 0
    _cache: HashCache = field(default_factory=lambda: HashCache(None))

    def __post_init__(self) -> None:
        self.store = Datastore.open(f"{self.bucket.url}/store", **self.bucket.options)
        self.stores = Stores(self.store)
        self.finder = SourceFinder(self.folder, self._cache)

    def put(self, **files: bytes) -> str:
        """Put *files*, with "__" for a slash in their names, into the bucket; the URL of their folder."""
        driver = self.bucket.filesystem()
        for name, content in files.items():
            driver.pipe_file(f"{self.bucket.bucket}/raw/{name.replace('__', '/')}", content)
        return f"{self.bucket.url}/raw"

    def dataset(self, *paths: str, partition_format: str | None = None) -> Source:
        selection = None if partition_format is None else PartitionFormat.parse(partition_format)
        return self.finder.dataset(paths, None, "input raw", selection)

    def attempt(self) -> Path:
        """The folder for the inputs of a new attempt."""
        self._attempts += 1
        scratch = self.folder / f"attempt-{self._attempts}"
        scratch.mkdir()
        return scratch / "inputs"

    def stage(
        self,
        source: Source,
        mode: AccessMode = "mount",
        *,
        inputs: Path | None = None,
        policy: MountPolicy = "download",
        path: Path | None = None,
        table: TabularFormat | None = None,
    ) -> list[str]:
        """The paths that the script is given."""
        downloads = DownloadCache(self.folder / "downloads", 1 << 30)
        remote = RemoteInputs(self.stores, self._cache, downloads, lambda what: Counted(self))
        folder = inputs or self.attempt()
        staging = Staging(remote, lambda what: Progress.silent(), folder, policy)
        place = None if path is None else str(path)
        staged = staging.stage(BoundInput("raw", mode, source, place, table))
        Traces(folder).all_staged()
        assert staged.argument == (staged.spec.paths[0] if table is None else source.digest)
        return staged.spec.paths

    def sealed(self, made: Path, *, manifest: bool = True) -> PipelineDataReference:
        """The reference to a copy of *made* as an output in the store, which a *manifest* may seal."""
        key = output_key("attempt-1", "made")
        self.store.upload(made, key)
        output = describe_output(self.store, "attempt-1", "made", made)
        assert output is not None
        local = manifest_of(Datastore.open(str(self.folder / "other")), prepared())
        sealed = local.model_copy(update={"outputs": {"made": output}})
        if manifest:
            seal(self.store, sealed)
        return PipelineDataReference(
            name="made",
            uri=self.store.uri(key),
            digest=output.digest,
            kind=output.kind,
            size=output.size,
            fingerprint=sealed.fingerprint,
            producer=sealed.producer.instance,
            sealed=manifest,
        )


class Counted(Progress):
    """Counts the bytes that come from servers for *worker*."""

    def __init__(self, worker: Worker) -> None:
        super().__init__("", lambda sentence: None)
        self._worker = worker

    def advance(self, size: int) -> None:
        self._worker.moved += size


@contextmanager
def remote_worker(bucket: ObjectStore, folder: Path) -> Iterator[Worker]:
    """A worker that opens the URLs of *bucket* with its options, and works in *folder*."""
    resolve_with(lambda url: Access(url, bucket.options))
    try:
        yield Worker(bucket, folder)
    finally:
        resolve_with(as_it_is)
