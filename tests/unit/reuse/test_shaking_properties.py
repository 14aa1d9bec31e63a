"""Modules at random: what is shipped does what the module does, and says nothing else."""

from __future__ import annotations

import traceback
from dataclasses import dataclass, replace
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_mlpipe.reuse.shaking import ShakenFunction, shake
from airflow_mlpipe.reuse.syntax import analyse

IMPORT = "from airflow_mlpipe import step"
STAND_IN = "def step(function): return function"  # instead of Airflow, and on one line as well
ANOTHER = 7919  # no number that is generated


@dataclass(frozen=True)
class Part:
    """A statement of a generated module: ``#`` in its text stands for ``number``.

    ``name`` is what it binds or changes, ``uses`` are the names that it uses. Functions take one number; a
    step raises an error for a negative one.
    """

    text: str
    number: int
    name: str
    uses: frozenset[str]
    kind: Literal["value", "function", "step"] = "value"

    def lines(self, number: int | None = None) -> str:
        return self.text.replace("#", str(self.number if number is None else number))


@st.composite
def modules(draw: st.DrawFn) -> list[Part]:
    """Parts that run from top to bottom: each uses names of those before it."""
    parts: list[Part] = []
    bound: dict[str, str] = {}  # each name so far, and of what kind it is
    for index in range(draw(st.integers(3, 8))):
        part = draw(st.sampled_from(_KINDS))(draw, index, bound)
        parts.append(part)
        bound[part.name] = part.kind
    return [*parts, draw(st.sampled_from((_step, _nested_step)))(draw, len(parts), bound)]


def _used(draw: st.DrawFn, bound: dict[str, str], *, now: bool = False) -> tuple[str, frozenset[str]]:
    """An expression over some of the names, which is a number, and those names.

    *now*: it is evaluated while the module is imported, when steps cannot be called.
    """
    usable = sorted(name for name, kind in bound.items() if not (now and kind == "step"))
    names = draw(st.lists(st.sampled_from(usable), unique=True, max_size=2)) if usable else []
    terms = [name if bound[name] == "value" else f"{name}(1)" for name in names]
    return f"({' + '.join([*terms, '#'])}) % 1000003", frozenset(names)


def _constant(draw: st.DrawFn, index: int, bound: dict[str, str]) -> Part:
    value, uses = _used(draw, bound, now=True)
    text = draw(st.sampled_from(_BINDINGS)).format(name=f"c{index}", value=value)
    return Part(text, draw(_numbers), f"c{index}", uses)


def _change(draw: st.DrawFn, index: int, bound: dict[str, str]) -> Part:
    """A statement that changes a value which an earlier one has bound."""
    names = [name for name, kind in bound.items() if kind == "value"]
    if not names:
        return _constant(draw, index, bound)
    name = draw(st.sampled_from(names))
    value, uses = _used(draw, {other: kind for other, kind in bound.items() if other != name}, now=True)
    text = draw(st.sampled_from(_CHANGES)).format(name=name, value=value)
    return Part(text, draw(_numbers), name, uses | {name})


def _function(draw: st.DrawFn, index: int, bound: dict[str, str]) -> Part:
    value, uses = _used(draw, bound)
    # A local variable may have the name of something else in the module.
    local = draw(st.sampled_from([*sorted(bound.keys() - uses), "local"]))
    body = draw(st.sampled_from(_BODIES)).replace("VALUE", value).replace("LOCAL", local)
    return Part(f"def h{index}(x):{body}", draw(_numbers), f"h{index}", uses, "function")


def _class(draw: st.DrawFn, index: int, bound: dict[str, str]) -> Part:
    value, uses = _used(draw, bound, now=True)
    text = (
        f"class h{index}(int):\n    rate = {value}\n    def __new__(cls, x):\n        return cls.rate + x + #"
    )
    return Part(text, draw(_numbers), f"h{index}", uses, "function")


def _step(draw: st.DrawFn, index: int, bound: dict[str, str]) -> Part:
    function = _function(draw, index, bound)
    _, body = function.text.split("(x):", 1)
    text = f"@step\ndef s{index}(x):\n    if x < 0: raise ValueError(x){body}"
    return replace(function, text=text, name=f"s{index}", kind="step")


def _nested_step(draw: st.DrawFn, index: int, bound: dict[str, str]) -> Part:
    step = _step(draw, index, bound)
    inner = step.text.replace("\n", "\n    ")
    text = f"def pipeline{index}():\n    {inner}\n    return {step.name}\n{step.name} = pipeline{index}()"
    return replace(step, text=text)


_numbers = st.integers(1, 50)
_KINDS = (_constant, _constant, _change, _function, _function, _class, _step)
_BINDINGS = (
    "{name} = {value}",
    "{name}: int = {value}",
    "({name},) = [{value}]",
    "for {name} in range(2): {name} = {value}",
    "if {value} > 3:\n    {name} = 1\nelse:\n    {name} = 2",
    "try:\n    import no_such_module as {name}\nexcept ImportError:\n    {name} = {value}",
    "with open('/dev/null'):\n    {name} = {value}; größe = 1",
    "print({name} := {value})",
    "{name} = [index for index in [{value}]][0]",
)
_CHANGES = (
    "{name} += {value}",
    "if {name} > 1:\n    {name} = {value}",
    "for _ in range(2): {name} -= {value}",
)
_BODIES = (
    "\n    return VALUE + x",
    "\n    LOCAL = x\n    return LOCAL + VALUE",
    "\n    return sum(VALUE for LOCAL in range(x))",
    "\n    def inner(LOCAL): return LOCAL * 2\n    return inner(x) + VALUE",
    "\n    '''Multiply\nor add.'''\n    return (lambda LOCAL: LOCAL + VALUE)(x)",
    "\n    try:\n        return VALUE\n    finally:\n        LOCAL = x",
)


def source_of(parts: list[Part], *, edited: Part | None = None) -> str:
    return "\n".join([IMPORT, *(part.lines(ANOTHER if part is edited else None) for part in parts)]) + "\n"


def shaken(source: str, name: str) -> ShakenFunction:
    lines = source.split("\n")
    definition = next(number for number, line in enumerate(lines, 1) if line.lstrip() == f"def {name}(x):")
    line = definition - (lines[definition - 2].lstrip().startswith("@step"))
    return shake(source, name=name, line=line, package="", who=name)


def called(source: str, name: str, x: int) -> Any:
    module: dict[str, Any] = {"__name__": "module"}
    exec(compile(source, "module.py", "exec"), module)
    return module[name](x)


def reached(parts: list[Part]) -> set[Part]:
    """The parts that the last one needs, found by the names that the generator has written down."""
    found, names = {parts[-1]}, set(parts[-1].uses)
    while more := {part for part in parts if part.name in names} - found:
        found |= more
        names |= {name for part in more for name in part.uses}
    return found


def digest(source: str) -> str:
    syntax = analyse(source.encode(), "module.py")
    assert syntax is not None
    return syntax.digest


@given(modules(), st.integers(0, 3))
@settings(max_examples=60)
def test_the_function_does_the_same_in_what_is_shipped(parts: list[Part], x: int) -> None:
    source, name = source_of(parts), parts[-1].name
    expected = called(source.replace(IMPORT, STAND_IN), name, x)
    assert called(shaken(source, name).source, name, x) == expected


@given(modules(), st.data())
@settings(max_examples=60)
def test_the_digest_changes_with_what_is_reached_and_with_nothing_else(parts: list[Part], data: Any) -> None:
    name, edited = parts[-1].name, data.draw(st.sampled_from(parts))
    before = digest(shaken(source_of(parts), name).source)
    after = digest(shaken(source_of(parts, edited=edited), name).source)
    assert (before != after) == (edited in reached(parts))


@given(modules())
@settings(max_examples=30)
def test_an_error_has_the_line_of_the_original(parts: list[Part]) -> None:
    source, name = source_of(parts), parts[-1].name
    with pytest.raises(ValueError, match="-1") as caught:
        called(shaken(source, name).source, name, -1)
    line = traceback.extract_tb(caught.value.__traceback__)[-1].lineno
    assert line is not None
    assert "raise ValueError(x)" in source.split("\n")[line - 1]
    assert line > source[: source.index(f"def {name}(x)")].count("\n")


@given(modules())
@settings(max_examples=30)
def test_shaking_again_changes_nothing(parts: list[Part]) -> None:
    name = parts[-1].name
    once = shaken(source_of(parts), name)
    again = shaken(once.source, name)
    assert digest(again.source) == digest(once.source)
    assert again.names == once.names


@given(modules())
@settings(max_examples=30)
def test_what_follows_and_what_other_decorators_say_is_no_matter(parts: list[Part]) -> None:
    source, name = source_of(parts), parts[-1].name
    decorated = source.replace("@step\n", "@step(compute_target='gpu')\n") + "unused = 1\nstep(print)\n"
    assert shaken(decorated, name) == shaken(source, name)
