"""Copies between any two places, by the service itself where it can, and mirrors."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from airflow_mlpipe.access import Access, as_it_is, filesystem, resolve_with
from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.store.hash_cache import HashCache
from airflow_mlpipe.store.progress import Progress
from airflow_mlpipe.store.remote_digests import RemoteDigests
from airflow_mlpipe.store.transfer.copying import copy_tree
from airflow_mlpipe.store.transfer.ends import CopyReport
from airflow_mlpipe.store.transfer.upload import WHOLE
from tests.proxy import Proxy, proxy_to
from tests.services import ObjectStore

Files = Mapping[str, bytes]

FILES = {"a": b"a", "deep/er/b": b"bb", "c d#%+ü": b"ccc"}


@dataclass
class Places:
    """A folder, a bucket of S3 and a container of Blob, each with the same ways to look at them."""

    roots: dict[str, str]
    proxy: Proxy

    def put(self, kind: str, files: Files) -> str:
        opened, path = filesystem(self.roots[kind] + "/")
        for name, content in files.items():
            place = f"{path.rstrip('/')}/{name}"
            if kind == "local":
                Path(place).parent.mkdir(parents=True, exist_ok=True)
            opened.pipe_file(place, content)
        return self.roots[kind]

    def files(self, url: str) -> Files:
        opened, path = filesystem(url + "/")
        opened.invalidate_cache()
        root = path.rstrip("/")
        return {name.removeprefix(f"{root}/"): opened.cat_file(name) for name in opened.find(root)}

    @property
    def reads(self) -> int:
        """How many times bytes of a file of S3 were asked for."""
        return sum(line.startswith("GET") and "list-type" not in line for line in self.proxy.requests)


@pytest.fixture
def places(s3: ObjectStore, s3_server: str, blob: ObjectStore, tmp_path: Path) -> Iterator[Places]:
    with proxy_to(s3_server) as proxy:
        options = {"s3": s3.through(proxy.address).options, "az": blob.options}
        resolve_with(lambda url: Access(url, options.get(url.partition(":")[0], {})))
        yield Places({"s3": s3.url, "blob": blob.url, "local": f"file://{tmp_path}/local"}, proxy)
        resolve_with(as_it_is)


def copied(sources: Mapping[str, str], destination: str, **options: object) -> CopyReport:
    return copy_tree(sources, destination, Progress.silent(), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("end", ["local", "s3", "blob"])
@pytest.mark.parametrize("start", ["local", "s3", "blob"])
def test_a_tree_arrives_and_is_passed_over_the_next_time(places: Places, start: str, end: str) -> None:
    source = places.put(start, {f"from/{name}": content for name, content in FILES.items()}) + "/from"
    destination = places.roots[end] + "/to"
    digests = RemoteDigests(HashCache(None))

    first = copied({"": source}, destination, digests=digests)
    again = copied({"": source}, destination, digests=digests)

    assert places.files(destination) == FILES
    assert (first.copied, first.skipped, first.bytes) == (3, 0, 6)
    assert (again.copied, again.skipped, again.bytes) == (0, 3, 0)
    assert first.server_side == (start == end != "local")


def test_what_a_service_copies_itself_does_not_pass_through_this_machine(places: Places) -> None:
    source = places.put("s3", {"from/a": b"a" * 1000})
    places.proxy.requests.clear()

    copied({"": f"{source}/from"}, f"{source}/to")

    assert places.reads == 0
    assert places.files(f"{source}/to") == {"a": b"a" * 1000}


@pytest.mark.parametrize(("start", "end"), [("s3", "blob"), ("blob", "s3")])
def test_a_large_file_passes_through_this_machine_in_parts(places: Places, start: str, end: str) -> None:
    content = os.urandom(WHOLE + 1)
    source = places.put(start, {"large": content})

    copied({"": f"{source}/large"}, f"{places.roots[end]}/copy")

    opened, path = filesystem(f"{places.roots[end]}/copy")
    assert opened.cat_file(path) == content


def test_a_changed_file_of_the_same_size_is_copied_again(places: Places) -> None:
    source = places.put("s3", {"from/a": b"before"})
    digests = RemoteDigests(HashCache(None))
    for end in ("s3", "blob", "local"):
        copied({"": f"{source}/from"}, f"{places.roots[end]}/to", digests=digests)
    places.put("s3", {"from/a": b"after!"})

    for end in ("s3", "blob", "local"):
        assert copied({"": f"{source}/from"}, f"{places.roots[end]}/to", digests=digests).copied == 1
        assert places.files(f"{places.roots[end]}/to") == {"a": b"after!"}


@pytest.mark.parametrize("end", ["local", "s3", "blob"])
def test_a_mirror_has_what_its_source_has_and_no_more(places: Places, end: str) -> None:
    source = places.put("s3", {"from/a": b"a", "from/b": b"b"}) + "/from"
    destination = places.put(end, {"to/a": b"old", "to/gone": b"x", "to/old/gone": b"y"}) + "/to"

    trial = copied({"": source}, destination, mirror=True, dry_run=True)
    assert places.files(destination) == {"a": b"old", "gone": b"x", "old/gone": b"y"}
    done = copied({"": source}, destination, mirror=True)

    assert trial == done
    assert done.deleted == ("gone", "old/gone")
    assert places.files(destination) == {"a": b"a", "b": b"b"}


def test_without_a_mirror_nothing_is_deleted(places: Places) -> None:
    source = places.put("local", {"from/a": b"a"}) + "/from"
    destination = places.put("s3", {"to/b": b"b"}) + "/to"

    assert copied({"": source}, destination).deleted == ()
    assert places.files(destination) == {"a": b"a", "b": b"b"}


@pytest.mark.parametrize("start", ["local", "s3"])
def test_a_source_that_has_nothing_is_refused_and_nothing_is_deleted(places: Places, start: str) -> None:
    destination = places.put("s3", {"to/b": b"b"}) + "/to"

    with pytest.raises(StoreError, match="nothing is at"):
        copied({"": f"{places.roots[start]}/empty"}, destination, mirror=True)

    assert places.files(destination) == {"b": b"b"}


@pytest.mark.parametrize(("source", "destination"), [("a", "a/b"), ("a/b", "a"), ("a", "a")])
def test_a_mirror_into_its_own_source_is_refused(places: Places, source: str, destination: str) -> None:
    root = places.put("s3", {"a/b/c": b"c"})

    with pytest.raises(StoreError, match="cannot be mirrored"):
        copied({"": f"{root}/{source}"}, f"{root}/{destination}", mirror=True)


def test_several_sources_become_one_folder(places: Places) -> None:
    s3 = places.put("s3", {"one/a": b"a"})
    local = places.put("local", {"b": b"b"})

    copied({"first": f"{s3}/one", "second.txt": f"{local}/b"}, f"{places.roots['blob']}/to")

    assert places.files(f"{places.roots['blob']}/to") == {"first/a": b"a", "second.txt": b"b"}


def test_two_sources_with_one_name_are_refused(places: Places) -> None:
    s3 = places.put("s3", {"one/x/a": b"a", "two/a": b"a"})

    with pytest.raises(StoreError, match="two sources have a file 'x/a'"):
        copied({"": f"{s3}/one", "x": f"{s3}/two"}, f"{places.roots['blob']}/to")


@pytest.mark.parametrize("end", ["local", "s3"])
def test_a_file_and_a_folder_do_not_take_each_others_place(places: Places, end: str) -> None:
    source = places.put("blob", {"file": b"1", "folder/a": b"a"})
    destination = places.put(end, {"file": b"2", "folder/b": b"b"})

    for what, where in (("file", "folder"), ("folder", "file")):
        with pytest.raises(StoreError):
            copied({"": f"{source}/{what}"}, f"{destination}/{where}")

    assert places.files(destination) == {"file": b"2", "folder/b": b"b"}


def test_an_executable_file_stays_executable_between_folders(tmp_path: Path) -> None:
    (tmp_path / "from").mkdir()
    (tmp_path / "from" / "run").write_text("#!/bin/sh")
    (tmp_path / "from" / "run").chmod(0o755)

    assert copied({"": f"{tmp_path}/from"}, f"{tmp_path}/to").copied == 1
    assert copied({"": f"{tmp_path}/from"}, f"{tmp_path}/to").copied == 0
    assert os.access(tmp_path / "to" / "run", os.X_OK)
