"""Where data may be copied to, and what a transfer refuses before anything is touched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airflow_mlpipe import access
from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.pipeline.destinations import destination_url
from airflow_mlpipe.pipeline.stores import Stores
from airflow_mlpipe.pipeline.transferring import Mirrors, Transfer, deletions, document_of, summary
from airflow_mlpipe.store.sources import Place, Source, SourceKind
from airflow_mlpipe.store.transfer.ends import CopyReport
from tests.unit.pipeline.sealed import settings


def stores(**values: Any) -> Stores:
    return Stores.open(settings(datastore="/store", private_datastore="/private", **values))


def source(*uris: str, kind: SourceKind = "directory", path: str = "") -> Source:
    names = [uri.rpartition("/")[2] if len(uris) > 1 else path for uri in uris]
    return Source(kind, "", tuple(Place(name, uri) for name, uri in zip(names, uris, strict=True)))


def of(found: Source, place: str, *, mirror: bool = False, **values: Any) -> Transfer:
    return Transfer.of(found, "the data", place, stores(**values), mirror=mirror)


@pytest.mark.parametrize(
    ("place", "url"),
    [
        ("reports/2026/", "file:///store/reports/2026"),
        ("/mnt/reports", "file:///mnt/reports"),
        ("/store/reports", "file:///store/reports"),
        ("file:///mnt//reports/", "file:///mnt/reports"),
        ("s3://bucket/reports/", "s3://bucket/reports"),
        ("datastore://shared/reports", "file:///mnt/shared/reports"),
        ("/", "file:///"),
    ],
)
def test_a_destination_is_a_url(place: str, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = access.Access("file:///mnt/shared/reports")
    monkeypatch.setattr(access, "_resolver", lambda url: shared)
    assert destination_url(place, stores()) == url


@pytest.mark.parametrize(
    ("place", "values", "sentence"),
    [
        ("mlpipe/v1/steps", {}, "lies among a datastore's own files"),
        ("/store/mlpipe", {}, "lies among a datastore's own files"),
        ("/store/", {}, "lies among a datastore's own files"),
        ("/store/namespaces/a/x", {}, "lies among a datastore's own files"),
        ("/store/x", {"namespace": "a", "read_datastores": ("/store",)}, "to which nothing is written"),
        ("/store/x", {"read_only": True}, "to which nothing is written"),
        ("reports/../mlpipe", {}, "climbs out"),
        ("/mnt/../store/mlpipe", {}, "climbs out"),
        ("https://acme.org/x", {}, "takes no files"),
    ],
)
def test_what_is_no_destination_is_refused(place: str, values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(StoreError, match=sentence):
        destination_url(place, stores(**values))


def test_a_datastores_own_files_are_no_destination_by_another_name(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "link").symlink_to("store")
    known = Stores.open(settings(datastore=str(tmp_path / "link")))
    for place in ("store", "link"):
        with pytest.raises(StoreError, match="own files"):
            destination_url(f"{tmp_path}/{place}/mlpipe/v1", known)
        with pytest.raises(StoreError, match="a mirror would delete it"):
            Transfer.of(source("s3://raw/a"), "the data", f"{tmp_path.parent}/", known, mirror=True)
    with pytest.raises(StoreError, match="own files"):
        destination_url("s3a://ml/store/mlpipe", Stores.open(settings(datastore="s3://ml/store")))


@pytest.mark.parametrize(
    ("found", "place", "sources"),
    [
        (source("s3://raw/a"), "s3://new/b/", {"": "s3://raw/a"}),
        (source("s3://raw/a.csv", kind="file"), "s3://new/b.csv", {"": "s3://raw/a.csv"}),
        (source("s3://raw/a.csv", kind="file"), "s3://new/b/", {"a.csv": "s3://raw/a.csv"}),
        (
            source("s3://raw/a.csv", "s3://raw/b.csv"),
            "s3://new",
            {"a.csv": "s3://raw/a.csv", "b.csv": "s3://raw/b.csv"},
        ),
    ],
)
def test_a_folder_becomes_its_destination_and_a_file_goes_into_one(
    found: Source, place: str, sources: dict[str, str]
) -> None:
    assert of(found, place).sources == sources


@pytest.mark.parametrize(
    ("found", "place", "sentence"),
    [
        (source("s3://raw/a"), "s3://raw/a", "lies in the data itself"),
        (source("s3://raw/a"), "s3a://raw/a/b", "lies in the data itself"),
        (source("s3://raw/a/x.csv", kind="file"), "s3://raw/a/", "lies in the data itself"),
        (source("az://raw/a", path="a"), "abfs://raw/", "lies in the data itself"),
        (source("s3://raw/a", kind="missing"), "s3://new", "was not written"),
    ],
)
def test_data_is_not_copied_onto_itself(found: Source, place: str, sentence: str) -> None:
    with pytest.raises(StoreError, match=sentence):
        of(found, place)


def test_a_copy_may_lie_around_or_beside_its_source() -> None:
    assert of(source("s3://raw/a/b"), "s3://raw/a").sources == {"": "s3://raw/a/b"}
    assert of(source("s3://raw/a"), "s3://raw/ab").destination == "s3://raw/ab"


@pytest.mark.parametrize(
    ("found", "place", "sentence"),
    [
        (source("s3://raw/a/b"), "s3://raw/a", "the data lies in the destination 's3://raw/a', and a mirror"),
        (source("s3://raw/a"), "/", "the datastore file:///store lies in the destination '/', and a mirror"),
        (source("s3://raw/a"), "/released", "file:///released/2026 lies in the destination '/released'"),
    ],
)
def test_a_mirror_deletes_no_source_and_no_datastore(found: Source, place: str, sentence: str) -> None:
    with pytest.raises(StoreError, match=sentence):
        of(found, place, mirror=True, read_datastores=("/released/2026",))


def test_each_mirror_is_shown_once(tmp_path: Path) -> None:
    own = Stores.open(settings(datastore=str(tmp_path)))
    first = Transfer.of(source("s3://raw/a"), "the data", "s3://new/a", own, mirror=True)
    others = [
        Transfer.of(source("s3://raw/a"), "the data", "s3://new/b", own, mirror=True),
        Transfer.of(source("s3://raw/b"), "other data", "s3://new/a", own, mirror=True),
    ]
    Mirrors(own).remember("dag", "task", first)
    Mirrors(own).remember("dag", "task", first)
    assert Mirrors(own).is_known("dag", "task", first)
    assert not any(Mirrors(own).is_known("dag", "task", other) for other in others)
    assert not Mirrors(own).is_known("dag", "other", first)


def test_a_report_is_a_sentence_and_a_document() -> None:
    report = CopyReport(copied=3, skipped=2, deleted=("a", "b"), bytes=1_200_000, server_side=True)
    assert summary(report, dry_run=False) == (
        "3 files (1.2 MB) copied, on their server, 2 were there already, 2 deleted"
    )
    assert summary(report, dry_run=True) == (
        "3 files (1.2 MB) would be copied, on their server, 2 were there already, 2 would be deleted"
    )
    assert document_of(report, dry_run=True) == {
        "copied": 3,
        "skipped": 2,
        "deleted": 2,
        "bytes": 1_200_000,
        "server_side": True,
        "dry_run": True,
    }


def test_very_many_deletions_are_told_by_number() -> None:
    report = CopyReport(0, 0, tuple(f"{number:03}" for number in range(105)), 0, False)
    assert len(told := deletions(report)) == 101
    assert (told[0], told[-2], told[-1]) == ("000", "099", "and 5 more")
