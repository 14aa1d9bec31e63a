"""Listings are whole or fail, whatever a driver leaves out by itself."""

from __future__ import annotations

from typing import Any

import pytest
from fsspec import AbstractFileSystem
from fsspec.asyn import AsyncFileSystem

from airflow_mlpipe.store.driver_listing import files_below
from airflow_mlpipe.store.objects.any_driver import AnyDriver
from tests.services import ObjectStore

TREE = {
    "root": ["root/2026/", "root/old/", "root/a.csv"],
    "root/2026": ["root/2026/b.csv", "root/2026/deep/"],
    "root/2026/deep": ["root/2026/deep/c.csv"],
    "root/old": ["root/old/d.csv"],
}


def listed(path: str, broken: str) -> list[dict[str, Any]]:
    if path == broken:
        raise PermissionError(13, "refused")
    if path not in TREE:
        raise FileNotFoundError(path)
    kinds = {True: "directory", False: "file"}
    return [{"name": name.rstrip("/"), "type": kinds[name.endswith("/")], "size": 1} for name in TREE[path]]


class Walking(AbstractFileSystem):  # type: ignore[misc]
    """A driver that lists folder by folder, and cannot list *broken*."""

    cachable = False
    broken = ""

    def ls(self, path: str, detail: bool = True, **_: Any) -> Any:
        return listed(path.rstrip("/"), self.broken)


class WalkingInTurns(AsyncFileSystem):  # type: ignore[misc]
    """The same, of the other kind."""

    cachable = False
    broken = ""

    async def _ls(self, path: str, detail: bool = True, **_: Any) -> Any:
        return listed(path.rstrip("/"), self.broken)


@pytest.mark.parametrize("kind", [Walking, WalkingInTurns])
def test_a_folder_that_cannot_be_listed_is_an_error(kind: Any) -> None:
    driver = kind()
    assert len(dict(files_below(driver, "root"))) == 4
    driver.broken = "root/2026/deep"
    assert len(driver.find("root")) == 3  # which is why drivers are not asked
    with pytest.raises(PermissionError):
        dict(files_below(driver, "root"))


def test_a_store_by_any_driver_does_not_take_what_it_cannot_list_for_gone() -> None:
    driver = Walking()
    assert len(AnyDriver(driver).listed("root")) == 4
    driver.broken = "root/2026/deep"
    with pytest.raises(PermissionError):
        AnyDriver(driver).listed("root")


def test_folders_that_a_pattern_cannot_match_are_not_listed() -> None:
    driver = Walking()
    driver.broken = "root/old"
    assert "root/2026/b.csv" in dict(files_below(driver, "root", ["2026", "*.csv"]))
    with pytest.raises(PermissionError):
        dict(files_below(driver, "root", ["*", "*.csv"]))


def test_what_is_not_there_has_no_files() -> None:
    assert not dict(files_below(Walking(), "elsewhere"))


@pytest.mark.parametrize("service", ["s3", "blob"])
def test_services_list_the_same_at_once_and_by_a_pattern(
    service: str, request: pytest.FixtureRequest
) -> None:
    store: ObjectStore = request.getfixturevalue(service)
    driver = store.filesystem()
    inside = ["a.csv", "2026/b.csv", "2026/deep/c.csv", "old/d.csv"]
    driver.pipe({f"{store.bucket}/root/{name}": b"1" for name in inside})
    driver.invalidate_cache()
    root = f"{store.bucket}/root"
    assert {*dict(files_below(driver, root))} == {f"{root}/{name}" for name in inside}
    by_pattern = {*dict(files_below(driver, root, ["2*", "*.csv"]))}
    assert by_pattern == {f"{root}/a.csv", f"{root}/2026/b.csv"}
