from __future__ import annotations

import argparse
import ast
import collections
import dataclasses
import enum
import functools
import symtable
import sys
import tarfile
import textwrap
import typing
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from airflow_mlpipe.reuse.scopes import ModuleNames, local_names, module_names, own_nodes


def names(source: str) -> ModuleNames:
    (statement,) = ast.parse(textwrap.dedent(source)).body
    return module_names(statement)


def function(source: str) -> ast.FunctionDef:
    (statement,) = ast.parse(textwrap.dedent(source)).body
    assert isinstance(statement, ast.FunctionDef)
    return statement


@pytest.mark.parametrize(
    ("source", "used"),
    [
        ("def f(a, *b, c=d, **e): return a, b, c, e, g", {"d", "g"}),
        ("def f():\n x = 1\n def g(): return x, y\n return g", {"y"}),
        ("def f():\n x = 1\n def g():\n  global x\n  return x\n return g", {"x"}),
        ("def f():\n x = 1\n def g():\n  nonlocal x\n  x = 2\n return g", set()),
        ("def f():\n global x\n x = 1", {"x"}),
        ("def f():\n global x\n def g(): return x\n return g", {"x"}),
        ("def f():\n return x\n x = 1", set()),
        ("def f(): return [a for a in b if (c := a)], c, d", {"b", "d"}),
        ("def f(): return {a: b for a, b in (a for a in a)}", {"a"}),
        ("def f(): return lambda a, b=c: (a, b, d)", {"c", "d"}),
        ("def f():\n try: pass\n except E as e: return e", {"E"}),
        ("def f():\n with a as b, c as (d, *e): return b, d, e", {"a", "c"}),
        ("def f():\n for a in b: print(a)", {"b", "print"}),
        ("def f():\n import a.b\n from c import d as e\n return a, d, e", {"d"}),
        ("def f():\n class A: a = b\n return A, a", {"a", "b"}),
        ("def f():\n del a\n return a", set()),
        ("def f(x):\n match x:\n  case A(b, c=[d, *e]) | {'k': f, **g} as h: return b, d, e, f, g, h", {"A"}),
        ("class A(B, metaclass=C):\n x: D = E\n y = x\n def f(self): return x", {"B", "C", "D", "E", "x"}),
        ("class A:\n x = x", {"x"}),
        ("class A:\n if B: x = 1\n y = x", {"B", "x"}),
        ("class A:\n x = 1\n y = [x for _ in range(3)]", {"x", "range"}),
        ("class A:\n x = [1]\n y = [a for a in x]", set()),
        ("class _A:\n def f(self): return __b, __c__", {"_A__b", "__c__"}),
        ("@a.b(c)\ndef f() -> d: pass", {"a", "c", "d"}),
        ("def f(a: 'b.C | None', c: Literal['d']) -> list['e']: pass", {"b", "Literal", "list", "e"}),
        ("def f(a: 'not an annotation'): pass", set()),
        ("x: 'a' = b", {"a", "b"}),
        ("x += a", {"x", "a"}),
        ("x[a] = b", {"x", "a", "b"}),
        ("del x", {"x"}),
        ("[x := 1 for a in b]", {"b"}),
    ],
)
def test_names_are_used_as_python_looks_them_up(source: str, used: set[str]) -> None:
    assert set(names(source).used) == used


def test_what_a_statement_runs_is_not_what_its_functions_will() -> None:
    found = names(
        """
        @register
        class A(Base):
            rate = default
            def method(self, limit=LIMIT):
                return helper([lambda: later])
        """
    )
    assert found.run == {"register", "Base", "default", "LIMIT"}
    assert found.used == ("register", "Base", "default", "LIMIT", "helper", "later")


@pytest.mark.parametrize(
    ("source", "bound"),
    [
        ("a, (b, *c) = d", {"a", "b", "c"}),
        ("import a.b, c.d as e", {"a", "e"}),
        ("from a import *", set()),
        ("if x:\n a = 1\nelse:\n def b(): inner = 1", {"a", "b"}),
        ("try: import a\nexcept E as e: a = None", {"a", "e"}),
        ("for a in b:\n with c as d: pass", {"a", "d"}),
        ("print([a for a in b if (c := a)])", {"c"}),
        ("class A:\n b = 1", {"A"}),
        ("del a", {"a"}),
    ],
)
def test_names_are_bound_as_python_binds_them(source: str, bound: set[str]) -> None:
    assert names(source).bound.keys() == bound


def test_a_name_has_the_line_on_which_it_is_bound_first() -> None:
    assert names("if x:\n    a = 1\n    b = 2\n    a = 3\n").bound == {"a": 2, "b": 3}


def test_global_names_that_functions_assign_are_told() -> None:
    found = names("def f():\n global a, b\n a = b\n")
    assert found.declared == {"a", "b"}
    assert found.assigned == {"a"}


def test_local_names_are_parameters_and_what_the_body_binds() -> None:
    found = local_names(function("def f(a, *b):\n c = 1\n global d\n d = [e for e in a]\n def g(): h = 1\n"))
    assert found == {"a": 1, "b": 1, "c": 2, "g": 5}


def test_the_nodes_of_a_function_are_not_those_of_functions_in_it() -> None:
    found = own_nodes(function("def f():\n if a: return 1\n def g(): return 2\n return lambda: (yield)\n"))
    kinds = [type(node) for node in found]
    assert kinds.count(ast.Return) == 2
    assert ast.Yield not in kinds


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the syntax is new in Python 3.12")
@pytest.mark.parametrize(
    ("source", "used"),
    [
        ("def f[T: A](x: T = B) -> list[T]: return T", {"A", "B", "list"}),
        ("class A[T](B[T]):\n x: T", {"B"}),
        ("type A[T] = dict[T, B]", {"dict", "B"}),
    ],
)
def test_type_parameters_are_names_of_what_has_them(source: str, used: set[str]) -> None:
    assert set(names(source).used) == used


def test_a_deeply_nested_expression_is_read() -> None:
    assert names(f"x = {' + '.join(['a'] * 1500)}").used == ("a",)


@pytest.mark.parametrize(
    "module", [argparse, ast, collections, dataclasses, enum, functools, tarfile, textwrap, typing]
)
def test_functions_of_the_standard_library_use_the_names_that_the_compiler_finds(module: ModuleType) -> None:
    assert module.__file__ is not None
    source = Path(module.__file__).read_text()
    for statement in ast.parse(source).body:
        if isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
            first = min([statement, *statement.decorator_list], key=lambda node: node.lineno).lineno
            segment = "\n".join(source.split("\n")[first - 1 : statement.end_lineno])
            tables = list(_tables(symtable.symtable(segment, "<test>", "exec")))
            compiler = {name for table in tables[1:] for name in _globals(table)}
            at_top = set(tables[0].get_identifiers())
            of_classes = {
                name for table in tables if table.get_type() == "class" for name in table.get_identifiers()
            }
            ours = set(module_names(statement).used)
            assert compiler - ours == set()
            assert ours - compiler <= at_top | of_classes


def _tables(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    yield table
    for child in table.get_children():
        yield from _tables(child)


def _globals(table: symtable.SymbolTable) -> Iterator[str]:
    for symbol in table.get_symbols():
        name = symbol.get_name()
        # The compiler's own cell; in a comprehension in a class some versions show it as a global name.
        if name != "__class__" and symbol.is_global() and (symbol.is_referenced() or symbol.is_assigned()):
            yield name
