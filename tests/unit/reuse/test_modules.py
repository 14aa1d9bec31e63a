from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_mlpipe.reuse.code_tree import Listing
from airflow_mlpipe.reuse.modules import Reach, reach
from airflow_mlpipe.reuse.syntax import ImportedName, analyse


def reached(
    files: dict[str, str], start: str = "train.py", path: tuple[str, ...] = (), **options: Any
) -> Reach:
    def imports_of(path: str) -> tuple[ImportedName, ...]:
        syntax = analyse(files[path].encode(), path)
        assert syntax is not None
        return syntax.imports

    home = start[: start.rfind("/") + 1]
    return reach([start], (home, *path), Listing(files), imports_of, **options)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        pytest.param(
            {"train.py": "import a", "a.py": "import b", "b.py": "", "c.py": ""}, "a.py b.py", id="chain"
        ),
        pytest.param({"train.py": "import a", "a.py": "import train"}, "a.py", id="cycle"),
        pytest.param(
            {
                "train.py": "import p.q.m",
                "p/__init__.py": "",
                "p/q/__init__.py": "",
                "p/q/m.py": "",
                "p/n.py": "",
            },
            "p/__init__.py p/q/__init__.py p/q/m.py",
            id="every parent runs",
        ),
        pytest.param(
            {"train.py": "from p import m, f", "p/__init__.py": "", "p/m.py": "", "p/n.py": ""},
            "p/__init__.py p/m.py",
            id="a name may be a submodule",
        ),
        pytest.param(
            {"train.py": "from p import f", "p/__init__.py": "from .m import f", "p/m.py": "", "p/n.py": ""},
            "p/__init__.py p/m.py",
            id="re-export",
        ),
        pytest.param(
            {
                "train.py": "import p.q",
                "p/__init__.py": "",
                "p/q.py": "from . import r\nfrom .s import t",
                "p/r.py": "",
                "p/s.py": "",
                "r.py": "",
            },
            "p/__init__.py p/q.py p/r.py p/s.py",
            id="relative",
        ),
        pytest.param(
            {
                "train.py": "import p.q.m",
                "p/__init__.py": "",
                "p/q/__init__.py": "",
                "p/q/m.py": "from .. import r\nfrom ..s import t\nfrom ... import train2",
                "p/r.py": "",
                "p/s/__init__.py": "",
                "p/s/t.py": "",
                "train2.py": "",
            },
            "p/__init__.py p/q/__init__.py p/q/m.py p/r.py p/s/__init__.py p/s/t.py train2.py",
            id="relative to a parent",
        ),
        pytest.param(
            {"train.py": "import n.a", "n/a.py": "", "n/b.py": ""}, "n/a.py", id="namespace package"
        ),
        pytest.param(
            {
                "train.py": "from p import *",
                "p/__init__.py": "__all__ = ['m']",
                "p/m.py": "",
                "p/q/__init__.py": "",
                "p/q/deep.py": "",
            },
            "p/__init__.py p/m.py p/q/__init__.py",
            id="a star may name submodules",
        ),
        pytest.param(
            {
                "train.py": "if x:\n import a\nelse:\n import b\ndef f():\n import c",
                "a.py": "",
                "b.py": "",
                "c.py": "",
            },
            "a.py b.py c.py",
            id="branches and functions",
        ),
        pytest.param(
            {"train.py": "import m", "m.py": "", "m/__init__.py": ""},
            "m.py m/__init__.py",
            id="two claimants",
        ),
        pytest.param(
            {"train.py": "import m", "m.pyi": "import a", "m.py": "", "a.py": ""}, "m.py", id="stub"
        ),
        pytest.param(
            {"train.py": "import fast", "fast.cpython-311-x86_64-linux-gnu.so": "", "slow.so": ""},
            "fast.cpython-311-x86_64-linux-gnu.so",
            id="compiled",
        ),
        pytest.param(
            {"train.py": "import json", "token.py": "import a", "a.py": "", "tok.py": ""},
            "a.py token.py",
            id="a namesake of the standard library's",
        ),
        pytest.param({"train.py": "", "test/__init__.py": "", "test/a.py": ""}, "", id="a folder of tests"),
        pytest.param({"train.py": "", "sitecustomize.py": ""}, "sitecustomize.py", id="imported at start"),
        pytest.param({"train.py": "from . import a", "a.py": ""}, "a.py", id="relative to the script"),
        pytest.param({"train.py": "from .. import a", "a.py": ""}, "", id="relative beyond the top"),
        pytest.param(
            {"train.py": "try:\n import a\nexcept ImportError:\n import b", "a.py": "", "b.py": ""},
            "a.py b.py",
            id="the import and its fallback",
        ),
        pytest.param(
            {"train.py": "import __main__\nfrom __main__ import a", "__main__.py": "", "a.py": ""},
            "",
            id="the script itself",
        ),
        pytest.param(
            {"train.py": "import p.__main__", "p/__init__.py": "", "p/__main__.py": "import a", "a.py": ""},
            "p/__init__.py p/__main__.py a.py",
            id="the main module of a package",
        ),
        pytest.param(
            {"train.py": "import a", "a.py": "import b", "b.py": "", "p/__init__.py": "", "p/b.py": ""},
            "a.py b.py",
            id="the same name in another folder",
        ),
        pytest.param(
            {"train.py": "import fast", "fast.pyx": "import a", "a.py": ""},
            "",
            id="source of a compiled module",
        ),
    ],
)
def test_what_is_reached(files: dict[str, str], expected: str) -> None:
    assert reached(files).files == {"train.py", *expected.split()}


def test_a_script_imports_from_its_own_folder_and_maybe_from_the_snapshots() -> None:
    files = {
        "sub/train.py": "import a, b",
        "sub/a.py": "",
        "b.py": "",
        "sub/__init__.py": "",
        "other/a.py": "",
    }
    assert reached(files, "sub/train.py").files == {"sub/train.py", "sub/a.py", "b.py"}


@pytest.mark.parametrize(
    ("files", "external"),
    [
        ({"train.py": "import os.path, numpy as np\nfrom a.b import c"}, {"os.path", "numpy", "a.b"}),
        ({"train.py": "import pandas", "pandas.py": ""}, set()),
        ({"train.py": "import pandas", "pandas/__init__.py": ""}, set()),
        ({"train.py": "import pandas", "pandas.abi3.so": ""}, set()),
        # An installed package comes before a folder without __init__.py.
        ({"train.py": "import datasets", "datasets/a.csv": ""}, {"datasets"}),
        ({"train.py": "from . import a\nfrom .b import c"}, set()),
    ],
)
def test_what_the_scripts_folder_does_not_surely_provide_is_external(
    files: dict[str, str], external: set[str]
) -> None:
    assert reached(files).external == external


def test_the_script_itself_is_not_external() -> None:
    assert reached({"train.py": "import __main__\nfrom __main__ import a"}).external == set()


def test_a_folder_that_pythonpath_names_is_looked_into() -> None:
    files = {"train.py": "import a", "lib/a.py": "import b", "lib/b.py": "", "lib/json.py": "", "c/a.py": ""}
    assert reached(files).files == {"train.py"}
    found = reached(files, path=("lib/",))
    assert found.files == {"train.py", "lib/a.py", "lib/b.py", "lib/json.py"}
    assert found.external == {"a", "b"}  # an absolute folder may come before it


@pytest.mark.parametrize(
    ("local", "expected"),
    [
        ({"joblib.py": "import a", "a.py": ""}, {"joblib.py", "a.py"}),
        ({"joblib/__init__.py": "", "joblib/b/c.py": ""}, {"joblib/__init__.py", "joblib/b/c.py"}),
        ({"joblib/results.csv": "", "joblib/b.py": ""}, set()),
        ({"tests/__init__.py": "", "other.py": ""}, set()),
    ],
)
def test_a_local_namesake_of_an_installed_module_is_reached_since_libraries_may_import_it(
    local: dict[str, str], expected: set[str]
) -> None:
    installed = frozenset({"joblib", "sklearn", "tests"})
    files = {"train.py": "import sklearn", **local}
    assert reached(files, installed=installed).files == {"train.py", *expected}
    assert reached(files).files == {"train.py"}


class TestTheBundle:
    @pytest.mark.parametrize(
        ("files", "expected"),
        [
            pytest.param(
                {
                    "train.py": "from common.words import f",
                    "@bundle/common/__init__.py": "from . import names",
                    "@bundle/common/words.py": "import other",
                    "@bundle/common/names.py": "",
                    "@bundle/common/unused.py": "",
                    "@bundle/other.py": "",
                    "@bundle/unused.py": "",
                },
                "common/__init__.py common/words.py common/names.py other.py",
                id="what is imported, with packages, transitively",
            ),
            pytest.param(
                {"train.py": "import n.a", "@bundle/n/a.py": "", "@bundle/n/b.py": ""},
                "n/a.py",
                id="the module that is imported from a namespace folder",
            ),
            pytest.param(
                {"train.py": "import pandas.core", "@bundle/pandas/a.csv": "", "@bundle/pandas/b.py": ""},
                "",
                id="nothing of a folder that does not hold what is imported",
            ),
            pytest.param(
                {"train.py": "import json, random", "@bundle/json/__init__.py": "", "@bundle/random.py": ""},
                "",
                id="nothing that is named like the standard library's",
            ),
            pytest.param(
                {"train.py": "import airflow_mlpipe", "@bundle/airflow_mlpipe/__init__.py": ""},
                "",
                id="not the package that every step has",
            ),
            pytest.param(
                {"train.py": "import joblib", "@bundle/sitecustomize.py": "", "@bundle/sklearn.py": ""},
                "",
                id="nothing that Python or a library imports by itself",
            ),
            pytest.param(
                {"train.py": "import a.b", "a/__init__.py": "", "@bundle/a/b.py": ""},
                "",
                id="nothing of a package that the directory provides",
            ),
            pytest.param(
                {"train.py": "import n.a, n.b", "n/a.py": "", "@bundle/n/b.py": ""},
                "n/b.py",
                id="its part of a namespace package",
            ),
        ],
    )
    def test_provides(self, files: dict[str, str], expected: str) -> None:
        found = reached(files, installed=frozenset({"joblib", "sklearn", "pandas"})).files
        assert {name for name in found if name.startswith("@bundle/")} == {
            f"@bundle/{name}" for name in expected.split()
        }

    def test_is_not_looked_into_for_modules_that_come_by_relative_imports_beyond_the_top(self) -> None:
        files = {"train.py": "import a", "@bundle/a.py": "from .. import b", "@bundle/b.py": ""}
        assert reached(files).files == {"train.py", "@bundle/a.py"}

    @pytest.mark.parametrize(
        ("file", "external"),
        [("common.py", set()), ("common/__init__.py", set()), ("common/words.py", {"common.words"})],
    )
    def test_makes_a_name_external_only_when_an_installed_one_may_come_first(
        self, file: str, external: set[str]
    ) -> None:
        assert reached({"train.py": "import common.words", f"@bundle/{file}": ""}).external == external

    def test_gives_whole_regular_packages_when_imports_cannot_be_told(self) -> None:
        files = {
            "train.py": "import n.kit.a, m.a",
            "@bundle/n/kit/__init__.py": "",
            "@bundle/n/kit/a.py": "",
            "@bundle/n/kit/deep/b.py": "import other",
            "@bundle/n/kit/words.txt": "",
            "@bundle/n/unused.py": "",
            "@bundle/m/a.py": "",
            "@bundle/m/b.py": "",
            "@bundle/other.py": "",
        }
        assert {name for name in reached(files, whole_packages=True).files if name != "train.py"} == {
            "@bundle/n/kit/__init__.py",
            "@bundle/n/kit/a.py",
            "@bundle/n/kit/deep/b.py",
            "@bundle/m/a.py",
            "@bundle/other.py",
        }


def test_what_only_the_second_root_provides_is_external_too() -> None:
    assert reached({"sub/train.py": "import a", "a.py": ""}, "sub/train.py").external == {"a"}


def test_no_file_out_of_reach_is_looked_at() -> None:
    def imports_of(path: str) -> tuple[ImportedName, ...]:
        looked_at.append(path)
        return (ImportedName("a", None, 0),)

    looked_at: list[str] = []
    reach(["train.py"], ("",), Listing(["train.py", "a.py", "b.py"]), imports_of)
    assert looked_at == ["train.py", "a.py"]


MODULES = ["m0", "m1", "p0", "p0.a", "p0.b", "p0.q", "p0.q.c", "n0.d", "n0.e"]
IN_BUNDLE = ["m1", "s0", "n0.e", "n0.f", "k0", "k0.a", "k0.b", "p0", "p0.z"]
PACKAGES = {"p0", "p0.q", "k0"}
PLACES = {
    prefix + name: prefix + name.replace(".", "/") + ("/__init__.py" if name in PACKAGES else ".py")
    for prefix, names in (("", MODULES), ("@bundle/", IN_BUNDLE))
    for name in names
}
STATEMENTS = st.sampled_from(
    [f"import {name}" for name in {*MODULES, *IN_BUNDLE}]
    + [
        "from p0 import a",
        "from p0 import q, nothing",
        "from p0 import *",
        "from p0.q import *",
        "from n0 import d, f",
        "from k0 import a",
        "from k0 import *",
    ]
    + [
        "from . import a",
        "from .q import c",
        "from .. import b",
        "from ..b import __name__",
        "from .e import x",
    ]
)
TREES = st.fixed_dictionaries(
    {name: st.lists(STATEMENTS, max_size=2) for name in ["train", *sorted(PLACES)]},
)
MISSING = st.sets(st.sampled_from(sorted(PLACES)), max_size=6)
ALLS = st.sampled_from(["", "__all__ = ['a', 'q']", "__all__ = ['c']"])

PROBE = """
import atexit, json, os, sys
here = os.path.dirname(os.path.abspath(__file__)) + os.sep
def tell():
    files = [getattr(module, "__file__", None) or "" for module in list(sys.modules.values())]
    print(json.dumps([name[len(here):] for name in files if name.startswith(here)]))
atexit.register(tell)
"""


def loaded_by_a_real_run(files: Mapping[str, str]) -> set[str]:
    """The files that a run of train.py loads, with the folder of the bundle on its PYTHONPATH."""
    with tempfile.TemporaryDirectory() as folder:
        for path, text in files.items():
            target = Path(folder, path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text((PROBE if path == "train.py" else "") + text)
        command = [sys.executable, "-S", "-B", str(Path(folder, "train.py"))]
        environment = {"PYTHONPATH": str(Path(folder, "@bundle"))}
        answer = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return set(json.loads(answer.stdout))


def test_the_probe_sees_what_a_run_loads() -> None:
    files = {
        "train.py": "import p.a",
        "p/__init__.py": "",
        "p/a.py": "from . import b",
        "p/b.py": "",
        "c.py": "",
    }
    assert loaded_by_a_real_run(files) == {"p/__init__.py", "p/a.py", "p/b.py"}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(tree=TREES, missing=MISSING, exports=ALLS)
def test_a_run_with_nothing_but_what_is_reached_loads_the_same_files(
    tree: dict[str, list[str]], missing: set[str], exports: str
) -> None:
    files = {
        {"train": "train.py", **PLACES}[name]: "".join(
            f"try:\n    {line}\nexcept (ImportError, AttributeError):\n    pass\n" for line in lines
        )
        for name, lines in tree.items()
        if name not in missing
    }
    for package in PACKAGES:
        for path in (f"{package}/__init__.py", f"@bundle/{package}/__init__.py"):
            if path in files:
                files[path] = exports + "\n" + files[path]
    found = reached(files).files
    loaded = loaded_by_a_real_run(files)
    assert loaded <= found
    assert loaded_by_a_real_run({name: files[name] for name in found}) == loaded
