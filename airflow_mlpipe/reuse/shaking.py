"""The module that is shipped for a step's function: what the function reaches of its own, and no more.

A module-level name is reached when the function uses it, or a statement does that is shipped. Shipped are
the statements that bind a reached name or change its value, in their order and on their own lines. What else
the module says, such as its DAG, is blank. Editing that changes nothing, neither what runs nor its digest.
"""

from __future__ import annotations

import ast
import builtins
import copy
import functools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from airflow_mlpipe.errors import DefinitionError
from airflow_mlpipe.reuse.module_text import walk_statements
from airflow_mlpipe.reuse.obstacles import Obstacle, Obstacles
from airflow_mlpipe.reuse.outline import FoundFunction, Outline, Statement, import_names, is_import
from airflow_mlpipe.reuse.scopes import own_nodes

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class ShakenFunction:
    """What is shipped for one function.

    ``source`` is a module that has, at the line numbers of the original, what the function reaches. The
    function is its member ``name``; ``names`` are all names that it binds, sorted. ``returns_value``: whether
    the function has a ``return`` with something other than None.
    """

    source: str
    name: str
    names: tuple[str, ...]
    returns_value: bool


def shake(
    source: str, *, name: str, line: int, package: str, who: str, makers: frozenset[str] = frozenset()
) -> ShakenFunction:
    """Cut out of the module *source* what its function *name* reaches.

    *line* is the first line of the function, decorators included, as ``__code__.co_firstlineno`` has it;
    *package* is the ``__package__`` of the module. *who* begins the messages, as in "step 'train'". *makers*
    are names of the module that make steps of functions, as far as its own text does not tell.

    Raises DefinitionError when the module cannot be parsed, when it has no such function, or when the
    function or what it reaches cannot run away from its module and from Airflow.
    """
    outline, obstacles = _read(source, package, makers, who)
    found = outline.find(name, line)
    if found is None:
        raise DefinitionError(_why_not_found(name, line, who))
    body = list(own_nodes(found.node))
    _check_kind(found, body, who)
    function = outline.statement_of(found)
    _check_closure(outline, found, function, who)
    shaking = _Shaking(outline, obstacles, found, function, who)
    shaking.run()
    return ShakenFunction(
        source=shaking.source(),
        name=name,
        names=tuple(sorted(shaking.names())),
        returns_value=any(map(_returns_value, body)),
    )


def _read(source: str, package: str, makers: frozenset[str], who: str) -> tuple[Outline, Obstacles]:
    try:
        return _module(source, package, makers)
    except SyntaxError as error:
        where = f"line {error.lineno}: " if error.lineno else ""
        why = f"{where}{error.msg}"
    except (ValueError, RecursionError, MemoryError) as error:
        why = str(error)
    raise DefinitionError(f"{who} cannot be shipped: its module cannot be parsed ({why}); mend it")


@functools.lru_cache(maxsize=8)
def _module(source: str, package: str, makers: frozenset[str]) -> tuple[Outline, Obstacles]:
    outline = Outline(source, package, makers)
    return outline, Obstacles(outline)


def _why_not_found(name: str, line: int, who: str) -> str:
    if name == "<lambda>":
        return f"{who} cannot be shipped: it is a lambda (line {line}); write it as a function with 'def'"
    return (
        f"{who} cannot be shipped: its module has no function {name!r} on line {line}; define it with 'def' "
        "in the file itself, and parse the file again if it was edited meanwhile"
    )


def _check_kind(found: FoundFunction, body: Sequence[ast.AST], who: str) -> None:
    """DefinitionError unless the function is an ordinary one that is defined in a module or a function."""
    where = f"{found.node.name!r} (line {found.node.lineno})"
    why = None
    if isinstance(found.node, ast.AsyncFunctionDef):
        why = f"{where} is an async function; use 'def', and asyncio.run() inside it"
    elif any(isinstance(node, (ast.Yield, ast.YieldFrom)) for node in body):
        why = f"{where} is a generator, for it has 'yield'; return a list, or write to an output"
    else:
        scopes = [node for node in found.chain if isinstance(node, (*_FUNCTIONS, ast.ClassDef))]
        if scopes and isinstance(scopes[-1], ast.ClassDef):
            why = f"{where} is a method of class {scopes[-1].name!r}; move it out of the class"
    if why is not None:
        raise DefinitionError(f"{who} cannot be shipped: {why}")


def _check_closure(outline: Outline, found: FoundFunction, function: Statement, who: str) -> None:
    """DefinitionError if the function uses variables of functions around it, other than itself."""
    for around in reversed(found.chain):
        if not isinstance(around, _FUNCTIONS):
            continue
        variables = outline.locals_of(around)
        for name in function.names.used:
            if name in variables and name != found.node.name and name not in function.names.declared:
                raise DefinitionError(
                    f"{who} cannot be shipped: it uses {name!r}, a variable of {around.name}() "
                    f"(line {variables[name]}); pass it as a parameter or move it to the top of the module"
                )


def _returns_value(node: ast.AST) -> bool:
    if not isinstance(node, ast.Return) or node.value is None:
        return False
    return not (isinstance(node.value, ast.Constant) and node.value.value is None)


class _Shaking:
    """Which statements of a module one function reaches, and their text."""

    def __init__(
        self, outline: Outline, obstacles: Obstacles, found: FoundFunction, function: Statement, who: str
    ) -> None:
        self._outline = outline
        self._obstacles = obstacles
        self._found = found
        self._who = who
        self._function = function
        self._kept: dict[Statement, None] = {self._function: None}
        self._reached: dict[str, None] = {}

    def run(self) -> None:
        if (obstacle := self._obstacles.of(self._function)) is not None:
            raise self._refusal(obstacle)
        own = self._found.node.name
        # To a function inside another, its own name is none of the module's.
        pending = [name for name in self._function.names.used if name != own or not self._is_local()]
        for statement in self._outline.registering:
            if (obstacle := self._obstacles.statements.get(statement)) is not None:
                raise self._refusal(obstacle, f"line {statement.node.lineno} registers an artifact and")
            pending += self._keep(statement)
        while pending:
            name = pending.pop()
            if name in self._reached:
                continue
            self._reached[name] = None
            if name == own:
                self._check_alone(self._outline.binders.get(name, ()))
            if (obstacle := self._obstacles.names.get(name)) is not None:
                raise self._refusal(obstacle.behind(name))
            for statement in self._statements_of(name):
                pending += self._keep(statement)
        self._check_alone(self._kept)

    def names(self) -> set[str]:
        names: set[str] = set()
        for statement in self._kept:
            names |= self._bound(statement)
        return names

    def source(self) -> str:
        lines = [b""] * len(self._outline.text.lines)
        shipped = {*self._outline.framing, *self._kept}
        if self._found.statement in self._kept:  # which then has the function in it
            shipped.discard(self._function)
            shipped.add(self._found.statement)
        for statement in sorted(shipped, key=lambda item: (item.first_line, item.node.col_offset)):
            for opening in statement.openings:
                lines[opening.line - 1] = opening.indent + b"if True:"
            first, *others = self._lines(statement)
            before = lines[statement.first_line - 1]
            lines[statement.first_line - 1] = before + b"; " + first if before else statement.indent + first
            lines[statement.first_line : statement.first_line + len(others)] = others
        return b"\n".join(lines).decode().rstrip("\n") + "\n"

    def _keep(self, statement: Statement) -> tuple[str, ...]:
        """Ship *statement* as well; gives the names that it uses, if that is news."""
        if statement in self._kept:
            return ()
        self._kept[statement] = None
        return statement.names.used

    def _statements_of(self, name: str) -> Iterator[Statement]:
        """The statements that make the value of *name*."""
        outline = self._outline
        binders = outline.binders.get(name, ())
        if name == self._found.node.name:
            pass  # the function itself, which is there
        elif binders:
            yield from binders
        elif not hasattr(builtins, name) and not _is_special(name):
            yield from self._imports_of_all(name)
        yield from outline.changers.get(name, ())
        for statement in outline.likely_changers.get(name, ()):
            if statement not in self._obstacles.statements:
                yield statement

    def _is_local(self) -> bool:
        return any(isinstance(node, _FUNCTIONS) for node in self._found.chain)

    def _bound(self, statement: Statement) -> set[str]:
        """The names that *statement* binds as it is shipped."""
        bound = set(statement.names.bound)
        return bound & self._reached.keys() if is_import(statement.node) else bound

    def _check_alone(self, statements: Iterable[Statement]) -> None:
        """DefinitionError if one of *statements* gives the name of the function to something else."""
        name = self._found.node.name
        around = (self._function, self._found.statement)
        lines = [
            item.names.bound[name] for item in statements if item not in around and name in self._bound(item)
        ]
        if name in self._reached:
            lines += [
                node.lineno
                for node, _ in walk_statements([self._found.statement.node])
                if isinstance(node, _FUNCTIONS) and node.name == name and node is not self._found.node
            ]
        if lines:
            raise DefinitionError(
                f"{self._who} cannot be shipped: its own name {name!r} stands for something else, too, "
                f"on line {min(lines)}; give one of them another name"
            )

    def _imports_of_all(self, name: str) -> Iterator[Statement]:
        """The ``from ... import *`` that may bind *name*, which nothing else does."""
        stars = [item for item in self._outline.statements if _imports_all(item)]
        if stars and (obstacle := self._obstacles.names.get("*")) is not None:
            raise self._refusal(obstacle.behind(name))
        yield from stars

    def _lines(self, statement: Statement) -> list[bytes]:
        """The text of *statement*; of an import, only the names that are reached."""
        node = statement.node
        if isinstance(node, (ast.Import, ast.ImportFrom)) and statement in self._kept:
            aliases = [alias for name, alias in import_names(statement) if name in self._reached]
            if aliases and len(aliases) < len(node.names):
                trimmed = copy.copy(node)
                trimmed.names = aliases
                return [ast.unparse(trimmed).encode()]
        return self._outline.lines_of(statement)

    def _refusal(self, obstacle: Obstacle, subject: str = "it") -> DefinitionError:
        parts = []
        for name in obstacle.through:
            line = self._outline.line_of(name)
            parts.append(f"uses {name!r}" + ("" if line is None else f" (line {line})"))
        what = ", which ".join((*parts, obstacle.what))
        return DefinitionError(f"{self._who} cannot be shipped: {subject} {what}; {obstacle.advice}")


def _imports_all(statement: Statement) -> bool:
    return isinstance(statement.node, ast.ImportFrom) and statement.node.names[0].name == "*"


def _is_special(name: str) -> bool:
    """Whether every module has *name* without binding it, like ``__name__``."""
    return name.startswith("__") and name.endswith("__")
