from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_mlpipe.errors import DefinitionError
from airflow_mlpipe.reuse.ignore import list_files


def write_all(directory: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def listed(directory: Path) -> list[str]:
    return [str(path) for path in list_files(directory)]


def test_all_files_are_listed_by_their_relative_paths_in_order(tmp_path: Path) -> None:
    write_all(tmp_path, {"b.py": "", "a/z.txt": "", "a.py": "", "a/b/c": ""})
    assert listed(tmp_path) == ["a.py", "a/b/c", "a/z.txt", "b.py"]


def test_caches_and_version_control_are_never_listed(tmp_path: Path) -> None:
    names = [
        ".git/config",
        "__pycache__/a.pyc",
        "a.pyc",
        ".venv/x",
        ".ipynb_checkpoints/n.ipynb",
        ".DS_Store",
    ]
    write_all(tmp_path, {**dict.fromkeys(names, ""), ".gitignore": "!*.pyc\n!.venv\n", "a.py": ""})
    assert listed(tmp_path) == ["a.py"]


@pytest.mark.parametrize(
    ("present", "hidden"),
    [
        ([".gitignore"], "git"),
        ([".gitignore", ".amlignore"], "aml"),
        ([".gitignore", ".amlignore", ".mlpipeignore"], "mlpipe"),
    ],
)
def test_the_strongest_ignore_file_is_the_only_one_read(
    tmp_path: Path, present: list[str], hidden: str
) -> None:
    write_all(tmp_path, {"git": "", "aml": "", "mlpipe": ""})
    write_all(tmp_path, {name: name[1:].removesuffix("ignore") for name in present})
    assert listed(tmp_path) == sorted({"git", "aml", "mlpipe"} - {hidden})


def test_a_nested_ignore_file_holds_for_its_folder_and_overrules_its_parents(tmp_path: Path) -> None:
    write_all(
        tmp_path,
        {
            ".gitignore": "*.log\n",
            "x.log": "",
            "sub/.gitignore": "!keep.log\n/only_here\n",
            "sub/keep.log": "",
            "sub/other.log": "",
            "sub/only_here": "",
            "sub/deep/only_here": "",
            "only_here": "",
        },
    )
    assert listed(tmp_path) == ["only_here", "sub/deep/only_here", "sub/keep.log"]


def test_a_file_below_an_ignored_folder_cannot_be_taken_back(tmp_path: Path) -> None:
    write_all(tmp_path, {".gitignore": "data/\n!data/keep\n", "data/keep": "", "a": ""})
    assert listed(tmp_path) == ["a"]


def test_a_file_below_a_folder_whose_contents_are_ignored_can_be_taken_back(tmp_path: Path) -> None:
    write_all(tmp_path, {".gitignore": "data/**\n!data/keep\n", "data/keep": "", "data/b": ""})
    assert listed(tmp_path) == ["data/keep"]


def test_a_folder_that_is_taken_back_takes_nothing_else_with_it(tmp_path: Path) -> None:
    write_all(tmp_path, {".gitignore": "*.py\n", "a/.gitignore": "!*/\n", "a/b/c.py": "", "a/b/d": ""})
    assert listed(tmp_path) == ["a/b/d"]


PATTERNS = st.sampled_from(
    [
        "a",
        "/a",
        "a/",
        "b/**",
        "!b/a",
        "*",
        "!*/",
        "!*.py",
        "*.py",
        "a/*",
        "!a/b",
        "**/b",
        "a/**/c.py",
        "# x",
        "",
        "b ",
    ]
)
TREES = st.sets(
    st.lists(st.sampled_from(["a", "b"]), max_size=2).flatmap(
        lambda folders: st.sampled_from(["c.py", "d", "e.py"]).map(lambda name: "/".join([*folders, name]))
    ),
    min_size=1,
    max_size=8,
)


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git to compare with")
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(tree=TREES, patterns=st.lists(PATTERNS, max_size=4), nested=st.lists(PATTERNS, max_size=2))
def test_the_listing_is_what_git_would_add(tree: set[str], patterns: list[str], nested: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        write_all(directory, dict.fromkeys(tree, ""))
        write_all(directory, {".gitignore": "\n".join(patterns), "a/.gitignore": "\n".join(nested)})
        subprocess.run(["git", "init", "-q"], cwd=directory, check=True)
        command = ["git", "-c", "core.excludesFile=", "ls-files", "-o", "--exclude-per-directory=.gitignore"]
        answer = subprocess.run(command, cwd=directory, check=True, capture_output=True, text=True).stdout
        assert listed(directory) == sorted(
            n for n in answer.split("\n") if n and not n.endswith(".gitignore")
        )


def test_a_link_inside_stands_for_what_it_points_to(tmp_path: Path) -> None:
    write_all(tmp_path, {"real/a.txt": ""})
    (tmp_path / "file").symlink_to("real/a.txt")
    (tmp_path / "folder").symlink_to("real")
    assert listed(tmp_path) == ["file", "folder/a.txt", "real/a.txt"]


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("nowhere", "does not exist"),
        ("/etc/hostname", "outside"),
        ("self", "does not exist"),
        (".", "leads back"),
    ],
)
def test_a_link_that_cannot_be_in_a_snapshot_is_refused_unless_ignored(
    tmp_path: Path, target: str, problem: str
) -> None:
    (tmp_path / "self").symlink_to(target)
    with pytest.raises(DefinitionError, match=f"'self'.*{problem}"):
        list_files(tmp_path)
    (tmp_path / ".gitignore").write_text("self\n")
    assert listed(tmp_path) == []


def test_two_links_that_lead_to_each_other_are_refused(tmp_path: Path) -> None:
    write_all(tmp_path, {"a/x": "", "b/y": ""})
    (tmp_path / "a" / "to_b").symlink_to("../b")
    (tmp_path / "b" / "to_a").symlink_to("../a")
    with pytest.raises(DefinitionError, match="leads back"):
        list_files(tmp_path)


def test_a_name_that_is_not_utf8_is_refused_unless_ignored(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")).write_text("")
    with pytest.raises(DefinitionError, match="not UTF-8"):
        list_files(tmp_path)
    (tmp_path / ".gitignore").write_text("caf*\n")
    assert listed(tmp_path) == []


def test_a_pipe_is_no_part_of_a_snapshot(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert listed(tmp_path) == []


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match="nowhere"):
        list_files(tmp_path / "nowhere")


def test_an_ignore_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_bytes(b"\xff\xfe")
    with pytest.raises(DefinitionError, match="gitignore"):
        list_files(tmp_path)
