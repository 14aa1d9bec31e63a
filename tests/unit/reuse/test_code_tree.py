from __future__ import annotations

from pathlib import Path

import pytest

from airflow_mlpipe.errors import DefinitionError
from airflow_mlpipe.reuse.code_tree import BUNDLE, CodeTree, Listing


def write_all(directory: Path, *names: str) -> None:
    for name in names:
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")


def modules(tree: CodeTree | Listing, folder: str) -> dict[str, list[str]]:
    return {name: sorted(entries) for name, entries in tree.modules(folder).items()}


def test_modules_are_told_by_the_names_that_import_them() -> None:
    names = ["a.py", "a/b.txt", "fast.cpython-311-x86_64-linux-gnu.so", "old.pyd", "c.pyi", "d.txt", "e.f.py"]
    assert modules(Listing(names), "") == {
        "a": ["a.py", "a/"],
        "e.f": ["e.f.py"],
        "fast": ["fast.cpython-311-x86_64-linux-gnu.so"],
        "old": ["old.pyd"],
    }


def test_a_package_is_all_that_is_below_its_folder() -> None:
    listing = Listing(["a/__init__.py", "a/b/c/d.txt", "a/b.py", "ab/c.py"])
    assert listing.package("a/") == ("a/__init__.py", "a/b.py", "a/b/c/d.txt")
    assert listing.package("nowhere/") == ()


def test_the_directory_and_the_bundle_are_one_tree(tmp_path: Path) -> None:
    write_all(tmp_path, "src/train.py", "src/lib/a.py", "common/__init__.py", "common/sql/b.sql", "other.py")
    tree = CodeTree(tmp_path / "src", tmp_path)
    assert tree.files == ("lib/a.py", "train.py")
    assert modules(tree, "") == {"lib": ["lib/"], "train": ["train.py"]}
    assert modules(tree, BUNDLE) == {"common": ["common/"], "other": ["other.py"], "src": ["src/"]}
    assert modules(tree, "@bundle/common/") == {"__init__": ["__init__.py"], "sql": ["sql/"]}
    assert tree.package("@bundle/common/") == ("@bundle/common/__init__.py", "@bundle/common/sql/b.sql")
    assert tree.path("@bundle/common/sql/b.sql") == tmp_path / "common/sql/b.sql"
    assert tree.path("lib/a.py") == tmp_path / "src/lib/a.py"


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("lib", ["lib/a.py", "lib/b.csv", "lib/in.d/c.py"]),
        ("lib/*", ["lib/a.py", "lib/b.csv", "lib/in.d/c.py"]),
        ("lib/in.d", ["lib/in.d/c.py"]),
        ("lib/in.d/{name}", ["lib/in.d/c.py"]),
        ("lib/part_", ["lib/a.py", "lib/b.csv", "lib/in.d/c.py"]),
        ("lib/*.p?", ["lib/a.py", "lib/b.csv", "lib/in.d/c.py"]),
        ("lib/*.csv", []),
        ("lib/b.csv", []),
        ("lib/result.txt", []),
        ("library", []),
        ("@bundle/common", []),
    ],
)
def test_a_path_leads_into_the_innermost_folder_that_it_names(
    tmp_path: Path, path: str, found: list[str]
) -> None:
    write_all(tmp_path, "src/train.py", "src/lib/a.py", "src/lib/b.csv", "src/lib/in.d/c.py", "common/a.py")
    assert sorted(CodeTree(tmp_path / "src", tmp_path).below(path)) == found


def test_what_is_not_there_in_the_bundle_is_empty(tmp_path: Path) -> None:
    write_all(tmp_path, "src/train.py")
    assert modules(CodeTree(tmp_path / "src"), BUNDLE) == {}
    assert modules(CodeTree(tmp_path / "src", tmp_path / "nowhere"), BUNDLE) == {}
    assert modules(CodeTree(tmp_path / "src", tmp_path), "@bundle/pandas/") == {}


def test_links_in_the_bundle_stand_for_what_they_point_to(tmp_path: Path) -> None:
    write_all(tmp_path, "elsewhere/a.py", "bundle/src/train.py")
    (tmp_path / "bundle/linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "bundle/file.py").symlink_to(tmp_path / "elsewhere/a.py")
    (tmp_path / "bundle/dangling.py").symlink_to(tmp_path / "nowhere.py")
    tree = CodeTree(tmp_path / "bundle/src", tmp_path / "bundle")
    assert modules(tree, BUNDLE) == {"linked": ["linked/"], "file": ["file.py"], "src": ["src/"]}
    assert modules(tree, "@bundle/linked/") == {"a": ["a.py"]}


@pytest.mark.parametrize("name", ["@bundle/", "@function/"])
def test_a_directory_with_a_folder_of_a_reserved_name_is_refused(tmp_path: Path, name: str) -> None:
    write_all(tmp_path, f"{name}a.py")
    with pytest.raises(DefinitionError, match=f"'{name}', which is the place of code that does not come"):
        CodeTree(tmp_path)


def test_files_made_for_a_step_are_listed_beside_those_of_the_directory(tmp_path: Path) -> None:
    write_all(tmp_path, "a.py")
    tree = CodeTree(tmp_path)
    assert tree.with_generated({"@function/train.py": b""}).files == ("@function/train.py", "a.py")
    assert tree.files == ("a.py",)
    assert CodeTree(None).with_generated({"@function/train.py": b""}).files == ("@function/train.py",)
