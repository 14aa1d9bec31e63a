from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from pathlib import Path

import pytest

from airflow_mlpipe.targets.interpreter import describe_everything, describe_imports, installed_modules


class Notebook:
    """A memory in memory."""

    def __init__(self) -> None:
        self.facts: dict[tuple[str, str], str] = {}

    def lookup(self, kind: str, key: str) -> str | None:
        return self.facts.get((kind, key))

    def remember(self, kind: str, key: str, value: str) -> None:
        self.facts[kind, key] = value


def install(
    site: Path,
    name: str,
    version: str,
    *,
    files: tuple[str, ...] = (),
    requires: tuple[str, ...] = (),
    direct_url: dict[str, object] | None = None,
) -> None:
    """Do to a folder what pip does: remove the old metadata, write files, write the new metadata."""
    uninstall(site, name)
    for file in files:
        (site / file).parent.mkdir(parents=True, exist_ok=True)
        (site / file).write_text(f"version = {version!r}\n")
    folder = site / f"{name}-{version}.dist-info"
    folder.mkdir(parents=True)
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    lines += [f"Requires-Dist: {requirement}" for requirement in requires]
    (folder / "METADATA").write_text("\n".join(lines) + "\n")
    record = [f"{file},sha256={hashlib.sha256((site / file).read_bytes()).hexdigest()},1" for file in files]
    (folder / "RECORD").write_text("\n".join([*record, f"{folder.name}/RECORD,,"]))
    if direct_url is not None:
        (folder / "direct_url.json").write_text(json.dumps(direct_url))


def uninstall(site: Path, name: str) -> None:
    for folder in site.glob(f"{name}-*.dist-info"):
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()


def age(folder: Path) -> None:
    past = time.time_ns() - 60 * 10**9
    os.utime(folder, ns=(past, past))


SITE = [place for place in sys.path if place.endswith("site-packages")]


def a_minute_later() -> int:
    return time.time_ns() + 60 * 10**9


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "site-packages"
    folder.mkdir()
    return folder


def versions(site: Path, *modules: str) -> dict[str, str]:
    found = describe_imports(modules, paths=[str(site)])
    assert found.unknown == {}
    return found.versions


def test_a_module_stands_for_the_distribution_that_provides_it(site: Path) -> None:
    install(site, "Scikit_Learn", "1.7", files=("sklearn/__init__.py", "sklearn/svm/__init__.py"))
    install(site, "six", "1.16", files=("six.py",))
    install(site, "unrelated", "1.0", files=("unrelated.py",))
    assert versions(site, "sklearn", "six") == {"scikit-learn": "1.7", "six": "1.16"}


def test_the_standard_library_and_this_package_count_for_nothing(site: Path) -> None:
    assert versions(site, "os", "sys", "json", "__future__", "airflow_mlpipe") == {}


def test_an_upgrade_in_place_is_seen_by_a_warm_memory(site: Path) -> None:
    memory = Notebook()
    install(site, "a", "1.0", files=("a.py",), requires=("b",))
    install(site, "b", "1.0", files=("b.py",))

    def now() -> dict[str, str]:
        return describe_imports(["a"], paths=[str(site)], remember=memory, clock=a_minute_later).versions

    for old, new in (("1.0", "1.1"), ("1.1", "2.0")):
        age(site)
        assert now() == {"a": "1.0", "b": old}
        known = dict(memory.facts)
        assert now() == {"a": "1.0", "b": old}
        assert memory.facts == known
        install(site, "b", new, files=("b.py",))
        assert now() == {"a": "1.0", "b": new}
        assert memory.facts != known


def test_requirements_count_with_theirs_and_only_when_they_apply(site: Path) -> None:
    install(
        site,
        "a",
        "1.0",
        files=("a.py",),
        requires=(
            "b>=1",
            "elsewhere; sys_platform == 'nowhere'",
            "optional; extra == 'more'",
            "with_extra[more]",
            "absent",
        ),
    )
    install(site, "b", "1.0", files=("b.py",), requires=("C", "a"))
    install(site, "with_extra", "1.0", requires=("wanted; extra == 'more'", "unwanted; extra == 'other'"))
    for name in ("c", "elsewhere", "optional", "wanted", "unwanted"):
        install(site, name, "1.0")
    assert set(versions(site, "a")) == {"a", "b", "c", "with-extra", "wanted"}


def test_a_malformed_requirement_counts_by_its_name(site: Path) -> None:
    install(site, "a", "1.0", files=("a.py",), requires=("b (>=1.0.*,)!",))
    install(site, "b", "1.0")
    assert set(versions(site, "a")) == {"a", "b"}


def test_all_distributions_that_share_a_namespace_count(site: Path) -> None:
    install(site, "google_one", "1.0", files=("google/one/__init__.py",))
    install(site, "google_two", "2.0", files=("google/two/__init__.py",))
    assert versions(site, "google") == {"google-one": "1.0", "google-two": "2.0"}


def test_a_module_that_is_not_there_counts_so_that_installing_it_does(site: Path) -> None:
    assert versions(site, "a") == {"missing:a": ""}
    install(site, "a", "1.0", files=("a.py",))
    assert versions(site, "a") == {"a": "1.0"}


def test_the_first_folder_on_the_path_wins(tmp_path: Path) -> None:
    install(tmp_path / "one", "a", "1.0", files=("a.py",))
    install(tmp_path / "two", "a", "2.0", files=("a.py",))
    paths = [str(tmp_path / "two"), str(tmp_path / "one"), str(tmp_path / "nowhere")]
    assert describe_imports(["a"], paths=paths).versions == {"a": "2.0"}


def test_the_same_version_with_other_files_differs_when_it_did_not_come_from_an_index(site: Path) -> None:
    here: dict[str, object] = {"url": "file:///src/a", "dir_info": {}}
    install(site, "a", "1.0", files=("a.py",), direct_url=here)
    first = versions(site, "a")
    install(site, "a", "1.0", files=("a.py", "a_more.py"), direct_url=here)
    assert first["a"].startswith("1.0 sha256:")
    assert versions(site, "a") != first


def test_an_editable_distribution_cannot_be_told(site: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "src").mkdir(parents=True)
    (source / "src" / "a.py").write_text("")
    direct: dict[str, object] = {"url": source.as_uri(), "dir_info": {"editable": True}}
    install(site, "a", "1.0", direct_url=direct)
    install(site, "user", "1.0", files=("user.py",), requires=("a",))
    for module in ("a", "user"):
        found = describe_imports([module], paths=[str(site), str(source / "src")])
        assert found.versions["a"] == "1.0"
        assert "editable" in found.unknown["a"]


def test_a_missing_module_cannot_be_told_while_an_editable_distribution_has_a_hook(site: Path) -> None:
    direct: dict[str, object] = {"url": "file:///src/a", "dir_info": {"editable": True}}
    install(site, "a", "1.0", files=("_a_editable.pth",), direct_url=direct)
    (site / "_a_editable.pth").write_text("import _a_editable_loader\n")
    assert "a" in describe_imports(["b"], paths=[str(site)]).unknown["b"]


class TestAModuleOfNoDistribution:
    def test_counts_by_its_contents_and_what_it_imports(self, site: Path, tmp_path: Path) -> None:
        install(site, "a", "1.0", files=("a.py",))
        bundle = tmp_path / "bundle"
        (bundle / "common").mkdir(parents=True)
        (bundle / "common" / "__init__.py").write_text("from other import x\nfrom . import y\n")
        (bundle / "common" / "data.json").write_text("{}")
        (bundle / "other.py").write_text("import a, os\n")
        paths = [str(bundle), str(site)]

        def now() -> dict[str, str]:
            found = describe_imports(["common"], paths=paths)
            assert found.unknown == {}
            return found.versions

        before = now()
        assert set(before) == {"a", "module:common", "module:other"}
        assert before["module:common"].startswith("tree:")
        (bundle / "common" / "__pycache__").mkdir()
        (bundle / "common" / "__pycache__" / "x.pyc").write_text("")
        (bundle / "unrelated.py").write_text("")
        assert now() == before
        (bundle / "common" / "data.json").write_text("[]")
        changed = now()
        assert changed["module:common"] != before["module:common"]
        (bundle / "other.py").write_text("import a, os, sys\n")
        assert now()["module:other"] != changed["module:other"]

    def test_hides_an_installed_namesake_later_on_the_path(self, site: Path, tmp_path: Path) -> None:
        install(site, "a", "1.0", files=("a.py",))
        (tmp_path / "a.py").write_text("")
        assert set(describe_imports(["a"], paths=[str(tmp_path), str(site)]).versions) == {"module:a"}
        assert set(describe_imports(["a"], paths=[str(site), str(tmp_path)]).versions) == {"a"}

    def test_counts_although_it_shares_a_namespace_with_a_distribution(
        self, site: Path, tmp_path: Path
    ) -> None:
        install(site, "ns_one", "1.0", files=("ns/one.py",))
        (tmp_path / "bundle" / "ns").mkdir(parents=True)
        (tmp_path / "bundle" / "ns" / "two.py").write_text("")
        found = describe_imports(["ns"], paths=[str(site), str(tmp_path / "bundle")])
        assert set(found.versions) == {"ns-one", "module:ns"}

    @pytest.mark.parametrize("name", ["json", "b"])
    def test_counts_unasked_when_libraries_get_it_for_another_one(
        self, site: Path, tmp_path: Path, name: str
    ) -> None:
        install(site, "a", "1.0", files=("a.py",))
        install(site, "b", "1.0", files=("b.py",))
        (tmp_path / "lib" / "empty").mkdir(parents=True)
        paths = [str(tmp_path / "lib"), str(site)]
        before = describe_imports(["a"], paths=paths).versions
        (tmp_path / "lib" / "unrelated.py").write_text("")
        assert describe_imports(["a"], paths=paths).versions == before == {"a": "1.0"}
        (tmp_path / "lib" / f"{name}.py").write_text("")
        assert set(describe_imports(["a"], paths=paths).versions) == {"a", f"module:{name}"}
        assert describe_imports(["a"], paths=[str(site), str(tmp_path / "lib")]).versions == before

    def test_counts_unasked_when_python_imports_it_at_start(self, tmp_path: Path) -> None:
        (tmp_path / "sitecustomize.py").write_text("x = 1\n")
        before = describe_imports([], paths=[str(tmp_path)]).versions
        assert set(before) == {"module:sitecustomize"}
        (tmp_path / "sitecustomize.py").write_text("x = 2\n")
        assert describe_imports([], paths=[str(tmp_path)]).versions != before

    @pytest.mark.parametrize(
        ("name", "text", "why"),
        [
            ("a.py", "def (\n", "cannot be parsed"),
            ("a.py", "import importlib\n", "imports importlib"),
            ("a.py", "exec('x')\n", "uses exec"),
            ("a.abi3.so", "", "compiled"),
            ("a.pyc", "", "compiled"),
        ],
    )
    def test_cannot_be_told_when_its_imports_cannot_be_seen(
        self, tmp_path: Path, name: str, text: str, why: str
    ) -> None:
        (tmp_path / name).write_text(text)
        assert why in describe_imports(["a"], paths=[str(tmp_path)]).unknown["a"]

    def test_does_not_count_bytecode_beside_its_source(self, tmp_path: Path) -> None:
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "__init__.py").write_text("x = 1\n")
        before = describe_imports(["a"], paths=[str(tmp_path)]).versions
        (tmp_path / "a" / "__init__.pyc").write_bytes(b"bytecode")
        assert describe_imports(["a"], paths=[str(tmp_path)]).versions == before

    def test_cannot_be_told_when_it_is_very_large(self, tmp_path: Path) -> None:
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "__init__.py").write_text("")
        with (tmp_path / "a" / "weights").open("wb") as file:
            file.truncate(65 * 2**20)
        assert "64 MiB" in describe_imports(["a"], paths=[str(tmp_path)]).unknown["a"]


def test_no_module_is_imported(site: Path) -> None:
    install(site, "a_bomb", "1.0", files=("a_bomb/__init__.py",))
    (site / "a_bomb" / "__init__.py").write_text("raise SystemExit\n")
    describe_imports(["a_bomb"], paths=[str(site)])
    assert "a_bomb" not in sys.modules


def test_everything_is_every_distribution(site: Path) -> None:
    for name in ("a", "b", "airflow_mlpipe"):
        install(site, name, "1.0")
    assert describe_everything([], paths=[str(site)]).versions == {"a": "1.0", "b": "1.0"}


def test_everything_has_the_modules_of_no_distribution_too_whatever_they_do(
    site: Path, tmp_path: Path
) -> None:
    install(site, "a", "1.0", files=("a.py",))
    lib = tmp_path / "lib"
    for name in ("b.py", "c/__init__.py", "c/data.json", "d/deep/e.py", "logs/log.txt", "not-a-module.py"):
        (lib / name).parent.mkdir(parents=True, exist_ok=True)
        (lib / name).write_text("import importlib\n")

    def now() -> dict[str, str]:
        found = describe_everything(["b", "absent"], paths=[str(lib), str(site)])
        assert found.unknown == {}
        return found.versions

    before = now()
    assert set(before) == {"a", "module:b", "module:c", "module:d", "missing:absent"}
    for name in ("b.py", "c/data.json", "d/deep/e.py"):
        (lib / name).write_text("changed\n")
        assert now() != before
        before = now()


def test_a_distribution_in_a_folder_of_its_own_counts_by_its_version(site: Path, tmp_path: Path) -> None:
    install(tmp_path / "target", "a", "1.0", files=("a.py",))
    install(site, "b", "1.0", files=("b.py",))
    paths = [str(tmp_path / "target"), str(site)]
    assert describe_imports(["b"], paths=paths).versions == {"b": "1.0"}
    assert describe_imports(["a"], paths=paths).versions == {"a": "1.0"}
    assert describe_everything([], paths=paths).versions == {"a": "1.0", "b": "1.0"}


def test_an_archive_on_the_path_cannot_be_told(site: Path, tmp_path: Path) -> None:
    archive = tmp_path / "lib.zip"
    archive.write_bytes(b"")
    found = describe_imports([], paths=[str(archive), str(site)])
    assert "lib.zip on the module search path is an archive" in found.unknown["lib.zip"]


def test_all_modules_that_may_be_imported_are_known(site: Path, tmp_path: Path) -> None:
    install(site, "Scikit_Learn", "1.7", files=("sklearn/__init__.py",))
    (site / "by_hand.py").write_text("")
    (tmp_path / "plain").mkdir()
    assert {"sklearn", "by_hand", "plain"} <= installed_modules(paths=[str(site), str(tmp_path)])
    (tmp_path / "more.py").write_text("")
    assert "more" in installed_modules(paths=[str(site), str(tmp_path)])


def test_a_folder_that_has_just_changed_is_not_remembered(site: Path) -> None:
    memory = Notebook()
    install(site, "a", "1.0", files=("a.py",))
    describe_imports(["a"], paths=[str(site)], remember=memory)
    assert memory.facts == {}
    describe_imports(["a"], paths=[str(site)], remember=memory, clock=a_minute_later)
    assert memory.facts != {}


def test_this_interpreter_is_described_in_milliseconds_once_it_is_known() -> None:
    memory = Notebook()
    cold = describe_imports(["pandas", "sklearn"], paths=SITE, remember=memory, clock=a_minute_later)
    durations = []
    for _ in range(10):
        start = time.perf_counter()
        assert (
            describe_imports(["pandas", "sklearn"], paths=SITE, remember=memory, clock=a_minute_later) == cold
        )
        durations.append(time.perf_counter() - start)
    assert {"pandas", "scikit-learn", "numpy", "scipy"} <= set(cold.versions)
    assert cold.unknown == {}
    assert min(durations) < 0.005
