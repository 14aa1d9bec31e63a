from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_mlpipe.reuse.modules import Reach, reach
from airflow_mlpipe.reuse.syntax import ImportedName, analyse


def reached(files: dict[str, str], start: str = "train.py") -> Reach:
    def imports_of(path: str) -> tuple[ImportedName, ...]:
        syntax = analyse(files[path].encode(), path)
        assert syntax is not None
        return syntax.imports

    return reach([start], start[: start.rfind("/") + 1], files, imports_of)


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


def test_what_only_the_second_root_provides_is_external_too() -> None:
    assert reached({"sub/train.py": "import a", "a.py": ""}, "sub/train.py").external == {"a"}


def test_no_file_out_of_reach_is_looked_at() -> None:
    def imports_of(path: str) -> tuple[ImportedName, ...]:
        looked_at.append(path)
        return (ImportedName("a", None, 0),)

    looked_at: list[str] = []
    reach(["train.py"], "", ["train.py", "a.py", "b.py"], imports_of)
    assert looked_at == ["train.py", "a.py"]


MODULES = ["m0", "m1", "p0", "p0.a", "p0.b", "p0.q", "p0.q.c", "n0.d", "n0.e"]
PLACES = {
    name: name.replace(".", "/") + ("/__init__.py" if name in {"p0", "p0.q"} else ".py") for name in MODULES
}
STATEMENTS = st.sampled_from(
    [f"import {name}" for name in MODULES]
    + [
        "from p0 import a",
        "from p0 import q, nothing",
        "from p0 import *",
        "from p0.q import *",
        "from n0 import d",
    ]
    + [
        "from . import a",
        "from .q import c",
        "from .. import b",
        "from ..b import __name__",
        "from .e import x",
    ]
)
TREES = st.fixed_dictionaries({name: st.lists(STATEMENTS, max_size=2) for name in ["train", *MODULES]})
ALLS = st.sampled_from(["", "__all__ = ['a', 'q']", "__all__ = ['c']"])

PROBE = """
import atexit, json, os, sys
here = os.path.dirname(os.path.abspath(__file__)) + os.sep
def tell():
    files = [getattr(module, "__file__", None) or "" for module in list(sys.modules.values())]
    print(json.dumps([name[len(here):] for name in files if name.startswith(here)]))
atexit.register(tell)
"""


def loaded_by_a_real_run(files: dict[str, str]) -> set[str]:
    with tempfile.TemporaryDirectory() as folder:
        for path, text in files.items():
            target = Path(folder, path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text((PROBE if path == "train.py" else "") + text)
        command = [sys.executable, "-S", "-B", str(Path(folder, "train.py"))]
        answer = subprocess.run(command, check=True, capture_output=True, text=True)
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
@given(tree=TREES, exports=ALLS)
def test_all_that_a_real_run_loads_is_reached(tree: dict[str, list[str]], exports: str) -> None:
    files = {
        {"train": "train.py", **PLACES}[name]: "".join(
            f"try:\n    {line}\nexcept (ImportError, AttributeError):\n    pass\n" for line in lines
        )
        for name, lines in tree.items()
    }
    files["p0/__init__.py"] = exports + "\n" + files["p0/__init__.py"]
    assert loaded_by_a_real_run(files) <= reached(files).files
