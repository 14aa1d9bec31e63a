from __future__ import annotations

import pytest

from airflow_mlpipe.reuse.syntax import ImportedName, SourceSyntax, analyse

SOURCE = '''"""About the module."""
import os.path
from . import sibling
from ..upper import name as other
from package import *


def area(r: float = 1.0) -> float:
    """About the function."""
    return 3.14 * r ** 2
'''


def syntax(source: str | bytes) -> SourceSyntax:
    data = source.encode() if isinstance(source, str) else source
    found = analyse(data, "module.py")
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("return", "# why\n    return"),
        ("\n\n\n", "\n\n\n\n\n"),
        ("3.14 * r ** 2", "(3.14*r**2)"),
        ("About the function", "All about the function"),
        ("About the module", "All about the module"),
        ('    """About the function."""\n', ""),
        ("3.14", "3.1_4"),
        ("\n", "\r\n"),
        ("    ", "\t"),
        ("\n\n\n", "\n\f\n\n"),
        ("import os.path\n", "import os.path \\\n\n"),
    ],
)
def test_comments_layout_and_docstrings_do_not_change_the_digest(old: str, new: str) -> None:
    assert syntax(SOURCE.replace(old, new)).digest == syntax(SOURCE).digest


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("3.14", "3.15"),
        ("r ** 2", "r * 2"),
        ("r: float = 1.0", "r: float = 1"),
        ("r: float", "r: int"),
        ("def area", "@cache\ndef area"),
        ("return", "assert r\n    return"),
        ("def area", "def extra(): ...\ndef area"),
        ("from . ", "from .. "),
    ],
)
def test_what_python_runs_changes_the_digest(old: str, new: str) -> None:
    assert syntax(SOURCE.replace(old, new)).digest != syntax(SOURCE).digest


@pytest.mark.parametrize(
    ("old", "new"), [("About the f", "All about the f"), ('    """About the function."""\n', "")]
)
def test_docstrings_change_the_documented_digest(old: str, new: str) -> None:
    assert syntax(SOURCE.replace(old, new)).documented_digest != syntax(SOURCE).documented_digest


def test_a_docstring_that_moves_from_one_function_to_another_changes_the_documented_digest() -> None:
    first = syntax('def f():\n "x"\n pass\ndef g():\n pass\n')
    second = syntax('def f():\n pass\ndef g():\n "x"\n pass\n')
    assert first.digest == second.digest
    assert first.documented_digest != second.documented_digest


@pytest.mark.parametrize(
    "values", [("1", "1.0", "True", "'1'", "b'1'", "1j"), ("0.0", "-0.0", "None", "...")]
)
def test_constants_of_different_types_differ(values: tuple[str, ...]) -> None:
    assert len({syntax(f"x = {value}\n").digest for value in values}) == len(values)


@pytest.mark.parametrize(
    ("one", "other"),
    [("f(a, b)", "f((a, b))"), ("x = [[1], 2]", "x = [[1, 2]]"), ("x = 'ab', 'c'", "x = 'a', 'bc'")],
)
def test_nesting_differs(one: str, other: str) -> None:
    assert syntax(one).digest != syntax(other).digest


def test_the_same_text_in_another_encoding_is_the_same_code() -> None:
    text = "name = 'Zürich'\n"
    utf8 = syntax(text)
    assert syntax(b"\xef\xbb\xbf" + text.encode()).digest == utf8.digest
    assert syntax(b"# -*- coding: latin-1 -*-\n" + text.encode("latin-1")).digest == utf8.digest
    assert syntax(b"# -*- coding: latin-1 -*-\n" + text.encode()).digest != utf8.digest


@pytest.mark.parametrize(
    "data",
    [b"def f(:\n", b"x = '\xff'\n", b"x\0\n", b"# coding: klingon\n", b"(" * 300 + b")" * 300, b"print 1\n"],
)
def test_what_does_not_parse_has_no_syntax(data: bytes) -> None:
    assert analyse(data, "module.py") is None


def test_long_integers_and_long_sums_are_no_obstacle() -> None:
    assert syntax(f"x = 0x{'f' * 10_000}\n").digest != syntax(f"x = 0x{'e' * 10_000}\n").digest
    assert syntax("x = " + "+".join("a" * 900)).digest


def test_a_lone_surrogate_is_no_obstacle() -> None:
    assert syntax(r"x = '\ud800'").digest != syntax(r"x = '\ud801'").digest


def test_imports_are_told_as_they_are_written() -> None:
    assert syntax(SOURCE).imports == (
        ImportedName("os.path", None, 0),
        ImportedName("", "sibling", 1),
        ImportedName("upper", "name", 2),
        ImportedName("package", "*", 0),
    )


def test_imports_in_branches_and_functions_are_told() -> None:
    source = "try:\n import a\nexcept ImportError:\n import b\ndef f():\n  from c import d\n"
    assert {name.module for name in syntax(source).imports} == {"a", "b", "c"}


TYPED = """{start}
if {flag}:
    import heavy
    import subprocess

    def f() -> heavy.Model: ...
else:
    import light
"""


@pytest.mark.parametrize(
    ("start", "flag"),
    [
        ("from typing import TYPE_CHECKING", "TYPE_CHECKING"),
        ("from typing_extensions import TYPE_CHECKING as CHECKED", "CHECKED"),
        ("import typing", "typing.TYPE_CHECKING"),
        ("import typing as t", "t.TYPE_CHECKING"),
    ],
)
def test_what_only_a_type_checker_reads_is_no_part_of_the_code(start: str, flag: str) -> None:
    source = TYPED.format(start=start, flag=flag)
    found = syntax(source)
    assert {name.module for name in found.imports} - {"typing", "typing_extensions"} == {"light"}
    assert found.dynamic is None
    assert syntax(source.replace("heavy", "heavier")) == found
    assert syntax(source.replace("light", "lighter")).digest != found.digest


@pytest.mark.parametrize(
    ("start", "flag"),
    [
        ("TYPE_CHECKING = True", "TYPE_CHECKING"),
        ("from typing import TYPE_CHECKING\nTYPE_CHECKING = True", "TYPE_CHECKING"),
        ("from .typing import TYPE_CHECKING", "TYPE_CHECKING"),
        ("from settings import TYPE_CHECKING", "TYPE_CHECKING"),
        ("import typing\nfrom fake import typing", "typing.TYPE_CHECKING"),
        ("from typing import TYPE_CHECKING\nfrom fake import *", "TYPE_CHECKING"),
        ("from typing import TYPE_CHECKING\ndef TYPE_CHECKING(): ...", "TYPE_CHECKING"),
        ("from typing import TYPE_CHECKING", "not TYPE_CHECKING"),
        ("from typing import TYPE_CHECKING", "TYPE_CHECKING or x"),
    ],
)
def test_what_looks_like_it_and_may_run_is_a_part_of_the_code(start: str, flag: str) -> None:
    source = TYPED.format(start=start, flag=flag)
    assert {"heavy", "light"} <= {name.module for name in syntax(source).imports}
    assert syntax(source).dynamic is not None
    assert syntax(source.replace("heavy", "heavier")).digest != syntax(source).digest


@pytest.mark.parametrize(
    ("source", "paths"),
    [
        ("os.listdir('plugins')", ["plugins"]),
        ("os.listdir('./lib//plugins/')", ["lib/plugins"]),
        ("glob('lib/*/names')", ["lib/*/names"]),
        ("f'plugins/{name}'", ["plugins"]),
        ("Path('lib') / 'plugins'", ["lib", "plugins"]),
        ("open('/data'), '.', '', '..', '../lib'", []),
        ("config['model'], config.get('model')", []),
        ("files.get('lib', place)", ["lib"]),
        ("config['model'] = 'lib'", ["lib", "model"]),
        ("'two\\nlines', 'x' * 2, b'bytes'", ["x"]),
    ],
)
def test_strings_that_may_be_relative_paths_are_told(source: str, paths: list[str]) -> None:
    assert sorted(syntax(source).paths) == paths


def test_syntax_survives_json() -> None:
    for source in (SOURCE, "import os\nos.system('x')\nprint(__doc__, open(__file__), os.listdir('lib'))\n"):
        assert SourceSyntax.from_json(syntax(source).to_json()) == syntax(source)


def test_the_digests_are_the_same_on_every_version_of_python() -> None:
    assert syntax(SOURCE).digest == "40ab5b86295f3c6f46109a8c77e806cbf95adb2b707df25a4f346a3cbe6d54d1"
    assert (
        syntax(SOURCE).documented_digest == "c6abe88f8d609642ac49ac4dd52f915fe76d4fc85b33145fa2863d1e66f1ba0f"
    )
