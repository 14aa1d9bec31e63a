"""Inputs as a machine finds them that shares nothing with the worker but the datastore."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pytest

from airflow_mlpipe.carrier.bringing import InputFetcher
from airflow_mlpipe.errors import StoreError, TargetError, UserError
from airflow_mlpipe.model.compute import ComputeTarget
from airflow_mlpipe.model.dataset import FileDataset
from airflow_mlpipe.model.docker_target import DockerTarget
from airflow_mlpipe.model.inputs import AccessMode, TabularFormat
from airflow_mlpipe.model.kubernetes_target import KubernetesTarget
from airflow_mlpipe.model.volume import Volume
from airflow_mlpipe.pipeline.binding import BoundInput
from airflow_mlpipe.pipeline.carrying import Carrying
from airflow_mlpipe.pipeline.placements.volumes import shared_folders
from airflow_mlpipe.pipeline.remote_inputs import RemoteInputs
from airflow_mlpipe.records import Carriage, CarriedInput, InputSpec
from airflow_mlpipe.store.atomic import remove
from airflow_mlpipe.store.hash_cache import HashCache
from airflow_mlpipe.store.hashing import describe
from airflow_mlpipe.store.progress import Progress
from airflow_mlpipe.store.sources import Source
from tests.services import ObjectStore
from tests.unit.pipeline.remote_worker import Worker, remote_worker


def silent(what: str) -> Progress:
    return Progress.silent()


@dataclass
class Machine:
    """A machine that is *shown* some folders of *worker* under their own paths."""

    worker: Worker
    folder: Path
    shown: tuple[Path, ...] = ()

    @property
    def inputs(self) -> Path:
        return self.folder / "inputs"

    def carrying(self) -> Carrying:
        cache = HashCache(None)
        remote = RemoteInputs(self.worker.stores, cache, None, silent)
        return Carrying(
            remote,
            silent,
            "attempt-1",
            PurePosixPath(self.inputs),
            self.worker.store,
            cache,
            lambda path: any(folder == path or folder in path.parents for folder in self.shown),
        )

    def stage(
        self,
        source: Source,
        mode: AccessMode = "mount",
        *,
        path: Path | None = None,
        table: TabularFormat | None = None,
        dataset: FileDataset | None = None,
        before: Callable[[], object] = lambda: None,
    ) -> InputSpec:
        """The input as the step finds it, once the machine has fetched it; *before* comes in between."""
        carrying = self.carrying()
        place = None if path is None else str(path)
        staged = carrying.stage(BoundInput("raw", mode, source, place, table, dataset))
        before()
        carriage = Carriage("", "", "", carrying.carried, carrying.links, carrying.in_place)
        InputFetcher(self.inputs, lambda sentence: None).fetch(carriage)
        return staged.spec


@pytest.fixture
def machine(s3: ObjectStore, tmp_path: Path) -> Iterator[Machine]:
    with remote_worker(s3, tmp_path / "worker") as worker:
        (tmp_path / "worker").mkdir()
        yield Machine(worker, tmp_path / "machine")


def files_in(folder: str | Path) -> dict[str, bytes]:
    root = Path(folder)
    return {
        path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


def made(folder: Path) -> Path:
    (folder / "deep" / "empty").mkdir(parents=True)
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o755)
    (folder / "deep" / "a.csv").write_text("a\n1\n")
    return folder


def test_remote_data_is_fetched_by_the_machine_itself(machine: Machine, tmp_path: Path) -> None:
    source = machine.worker.dataset(machine.worker.put(a=b"a", deep__b=b"bb"))
    (shared,) = machine.stage(source).paths
    assert files_in(shared) == {"a": b"a", "deep/b": b"bb"}
    assert Path(shared, "a").stat().st_mode & 0o222 == 0
    (own,) = machine.stage(source, "download", path=tmp_path / "fixed" / "data").paths
    assert own == str(tmp_path / "fixed" / "data")
    Path(own, "a").write_bytes(b"changed")


def test_remote_data_that_changed_since_it_was_listed_is_refused(machine: Machine) -> None:
    source = machine.worker.dataset(machine.worker.put(a=b"a"))
    with pytest.raises(StoreError, match="raw/a"):
        machine.stage(source, before=lambda: machine.worker.put(a=b"b"))


def test_an_output_of_a_step_arrives_as_it_was_sealed(machine: Machine, tmp_path: Path) -> None:
    folder = made(tmp_path / "made")
    reference = machine.worker.sealed(folder)
    (path,) = machine.stage(machine.worker.finder.reference(reference)).paths
    assert describe(Path(path)).digest == reference.digest


def test_what_only_the_worker_has_goes_by_way_of_the_datastore(machine: Machine, tmp_path: Path) -> None:
    folder = made(tmp_path / "made")
    (path,) = machine.stage(machine.worker.dataset(str(folder)), "download").paths
    assert path.startswith(str(machine.inputs))
    assert describe(Path(path)).digest == describe(folder).digest
    (file,) = machine.stage(machine.worker.dataset(str(folder / "deep" / "a.csv"))).paths
    assert (Path(file).name, Path(file).read_bytes()) == ("a.csv", b"a\n1\n")


def test_a_mounted_disk_is_read_where_it_is(machine: Machine, tmp_path: Path) -> None:
    folder = made(tmp_path / "made")
    machine.shown = (tmp_path / "made",)
    source = machine.worker.dataset(str(folder))
    assert machine.stage(source).paths == [str(folder)]
    (copy,) = machine.stage(source, "download").paths
    assert copy.startswith(str(machine.inputs))
    assert describe(Path(copy)).digest == describe(folder).digest
    several = machine.worker.dataset(str(folder / "run.sh"), str(folder / "deep"))
    (joined,) = machine.stage(several).paths
    assert files_in(joined) == {"run.sh": b"#!/bin/sh\n", "deep/a.csv": b"a\n1\n"}
    assert list(machine.worker.store.files("mlpipe/v1/attempts")) == []


@pytest.mark.parametrize("mode", ["mount", "download"])
@pytest.mark.parametrize("paths", [("",), ("run.sh",), ("run.sh", "deep")])
def test_a_disk_with_other_data_than_the_workers_is_refused(
    machine: Machine, tmp_path: Path, mode: AccessMode, paths: tuple[str, ...]
) -> None:
    folder = made(tmp_path / "made")
    machine.shown = (folder,)
    source = machine.worker.dataset(*(str(folder / path) for path in paths))
    machine.stage(source, mode)
    with pytest.raises(TargetError, match="mount the worker's disk under the same path"):
        machine.stage(source, mode, before=lambda: (folder / "run.sh").write_text("#!/bin/XX\n"))


@pytest.mark.parametrize("mode", ["mount", "download"])
def test_an_output_on_a_mounted_disk_is_compared_with_what_was_sealed(
    machine: Machine, tmp_path: Path, mode: AccessMode
) -> None:
    folder = made(tmp_path / "made")
    machine.shown = (folder,)
    sealed = machine.worker.sealed(folder).model_copy(update={"uri": f"file://{folder}"})
    machine.stage(machine.worker.finder.reference(sealed), mode)
    (folder / "run.sh").write_text("#!/bin/XX\n")  # also when the worker sees the same
    with pytest.raises(TargetError, match=sealed.digest):
        machine.stage(machine.worker.finder.reference(sealed), mode)


@pytest.mark.parametrize("mode", ["mount", "download"])
def test_data_that_counts_by_its_definition_is_not_compared_but_has_to_be_there(
    machine: Machine, tmp_path: Path, mode: AccessMode
) -> None:
    folder = made(tmp_path / "made")
    machine.shown = (folder,)
    dataset = FileDataset(paths=(str(folder),), identity="definition")
    source = machine.worker.finder.dataset(dataset.paths, "definition", "input raw")
    script = folder / "run.sh"
    machine.stage(source, mode, dataset=dataset, before=lambda: script.write_text("#!/bin/XX\n"))
    with pytest.raises(TargetError, match="is not there: mount"):
        machine.stage(source, mode, dataset=dataset, before=lambda: folder.rename(tmp_path / "gone"))


@pytest.mark.parametrize(
    ("target", "folders"),
    [
        (DockerTarget(volumes=("/data:/data:ro", "/a:/b", "cache:/cache")), ["/data"]),
        (KubernetesTarget(volumes=[Volume(mount_path="/data", host_path="/data")]), ["/data"]),
        (KubernetesTarget(volumes=[Volume(mount_path="/data", host_path="/disk")]), []),
        (KubernetesTarget(volumes=[Volume(mount_path="/d/x", host_path="/d", sub_path="x")]), ["/d/x"]),
        (KubernetesTarget(volumes=[Volume(mount_path="/data", claim="data")]), ["/data"]),
        (KubernetesTarget(volumes=[Volume(mount_path="/data", claim="data", sub_path="x")]), []),
        (KubernetesTarget(volumes=[Volume(mount_path="/data", nfs="filer:/exports/data")]), ["/data"]),
        (KubernetesTarget(volumes=[Volume(mount_path="/data", scratch="1Gi")]), []),
    ],
)
def test_only_a_volume_that_may_be_the_workers_folder_stands_for_it(
    target: ComputeTarget, folders: list[str]
) -> None:
    assert shared_folders(target) == [Path(folder) for folder in folders]


def linked(machine: Path, attempt: str, link: Path) -> InputFetcher:
    """An attempt, which *machine* keeps in a folder of its own, with an empty input that *link* leads to."""
    inputs = machine / attempt / "inputs"
    part = CarriedInput(str(inputs / "raw"), [])
    fetcher = InputFetcher(inputs, lambda sentence: None)
    fetcher.fetch(Carriage("", "", "", {"raw": [part]}, {str(link): part.path}))
    return fetcher


def test_a_link_that_a_killed_attempt_left_gives_way_to_the_next(tmp_path: Path) -> None:
    link = tmp_path / "fixed" / "raw"
    for attempt in ("train-1", "train-1", "train-2"):  # the machine still has the folder, in the end not
        linked(tmp_path, attempt, link)
        (tmp_path / attempt / "lock").touch()
    remove(tmp_path / "train-2")
    last = linked(tmp_path, "train-3", link)
    assert link.readlink() == tmp_path / "train-3" / "inputs" / "raw"
    last.unlink()
    assert not link.is_symlink()
    last.unlink()


def test_a_link_of_a_running_attempt_or_of_the_user_stays(tmp_path: Path) -> None:
    link, mine = tmp_path / "fixed" / "raw", tmp_path / "fixed" / "mine"
    linked(tmp_path, "train-1", link)
    (tmp_path / "data" / "inputs").mkdir(parents=True)
    mine.symlink_to(tmp_path / "data" / "inputs")
    with (tmp_path / "train-1" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for path in (link, mine):
            before = path.readlink()
            with pytest.raises(UserError, match="a pool of one slot"):
                linked(tmp_path, "train-2", path)
            assert path.readlink() == before


def test_a_table_names_its_files_as_the_machine_finds_them(machine: Machine, tmp_path: Path) -> None:
    source = machine.worker.dataset(machine.worker.put(**{"a.csv": b"a\n1\n", "deep__b.csv": b"a\n2\n"}))
    table = TabularFormat(format="delimited")
    for place in (None, tmp_path / "fixed"):
        spec = machine.stage(source, table=table, path=place)
        assert [Path(path).read_bytes() for path in spec.paths] == [b"a\n1\n", b"a\n2\n"]
        assert spec.definition["root"] == str(Path(spec.paths[0]).parent)
        assert place is None or spec.definition["root"] == str(place)


def test_a_step_cannot_open_by_itself_what_only_the_worker_has(machine: Machine, tmp_path: Path) -> None:
    folder = made(tmp_path / "made")
    with pytest.raises(UserError, match="which the step does not see"):
        machine.stage(machine.worker.dataset(str(folder)), "direct")
    url = machine.worker.put(a=b"a")
    assert machine.stage(machine.worker.dataset(url), "direct").paths == [url]


def test_credentials_are_asked_for_the_folders_that_are_opened(machine: Machine) -> None:
    url = machine.worker.put(**{"a.csv": b"a", "deep__b": b"b"})
    carrying = machine.carrying()
    carrying.stage(BoundInput("raw", "mount", machine.worker.dataset(url)))
    carrying.stage(BoundInput("one", "mount", machine.worker.dataset(f"{url}/deep/b")))
    assert carrying.urls == {url, f"{url}/deep"}
