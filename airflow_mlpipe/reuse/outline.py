"""A module as a row of statements: which of its names each of them binds, uses and changes."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from airflow_mlpipe.reuse.module_text import Chain, prepare, root_name, stays_in_pipeline, walk_statements
from airflow_mlpipe.reuse.scopes import Function, ModuleNames, bound_name, children, local_names, module_names

_REGISTER = "register_artifact"
_INIT_SUBCLASS = "__init_subclass__"
# Methods of Python's own containers that change them, and whose result may be wanted as well.
_CHANGING = frozenset(
    {"add", "append", "appendleft", "clear", "discard", "extend", "insert", "pop", "popitem", "popleft"}
    | {"remove", "setdefault", "sort", "subtract", "update"}
)


class Opening(NamedTuple):
    """Where ``if True:`` stands in for a block that is not shipped around a statement that is."""

    line: int
    indent: bytes


@dataclass(frozen=True, eq=False)
class Statement:
    """One statement of a module, or a function that is taken out of another statement."""

    node: ast.stmt
    first_line: int
    indent: bytes
    openings: tuple[Opening, ...]
    names: ModuleNames


class FoundFunction(NamedTuple):
    """A function, the statements around it, and the statement of the module that it is or is part of."""

    node: Function
    chain: Chain
    statement: Statement


class Outline:
    """The statements of one module, and who binds and changes each name.

    ``binders``: the statements that bind (or delete) a name.
    ``changers``: those that change its value: ``X[0] = v``, ``X.a = v``, ``X.add(v)``, ``@X.register``.
    ``likely_changers``: those that may change it by a call: ``fill(X)``, or ``fill()`` where that function
    changes X, or ``np.seterr(...)`` for an imported module, or ``class Y(X)`` where X keeps a list of such.
    ``framing``: those that say something about the whole module, its docstring and ``from __future__``.
    ``registering``: those that register a type of artifact, which any function may then return.
    ``steps``: the functions that are steps. To call one runs nothing, so that it changes nothing.

    Raises SyntaxError, ValueError or RecursionError for what this Python cannot parse.
    """

    def __init__(self, source: str, package: str, makers: Collection[str] = ()) -> None:
        self.text = prepare(source, package, makers)
        self.statements = tuple(self._statements(self.text.tree.body, b"", ()))
        self.framing = tuple(
            item for index, item in enumerate(self.statements) if _is_framing(item.node, is_first=index == 0)
        )
        self.binders = _grouped((name, item) for item in self.statements for name in item.names.bound)
        self.steps = frozenset(
            name
            for name, items in self.binders.items()
            if any(_is_function(item.node) and item.node.lineno in self.text.steps for item in items)
        )
        changes = _Changes(self.binders, self.steps, asks_for_subclasses="__subclasses__" in source)
        self.changers = _grouped((name, item) for item in self.statements for name in changes.surely(item))
        self.likely_changers = _grouped(
            (name, item) for item in self.statements for name in changes.perhaps(item)
        )
        self.registering = tuple(
            item for item in self.statements if _REGISTER in source and self._registers(item.node)
        )
        self._found = {
            node.lineno: FoundFunction(node, chain, item)
            for item in self.statements
            for node, chain in walk_statements([item.node])
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        }
        self._lines: dict[Statement, list[bytes]] = {}
        self._locals: dict[int, Mapping[str, int]] = {}

    def find(self, name: str, line: int) -> FoundFunction | None:
        """The function *name* that begins on *line* of the original, decorators included."""
        definition = self.text.definitions.get((name, line))
        return None if definition is None else self._found.get(definition)

    def statement_of(self, found: FoundFunction) -> Statement:
        """The function as a statement of its own, whatever it is part of."""
        if found.statement.node is found.node:
            return found.statement
        first_line = self.text.first_line(found.node)
        outer = found.statement
        return Statement(
            node=found.node,
            first_line=first_line,
            indent=self._indent(first_line),
            openings=(*outer.openings, Opening(outer.node.lineno, outer.indent)),
            names=module_names(found.node),
        )

    def lines_of(self, statement: Statement) -> list[bytes]:
        """The lines of *statement*, from its first on, without what else is on them."""
        if statement not in self._lines:
            self._lines[statement] = self.text.text(statement.node).split(b"\n")
        return self._lines[statement]

    def locals_of(self, function: Function) -> Mapping[str, int]:
        """The variables of *function*, a node of this outline, each with the first line that binds it."""
        if function.lineno not in self._locals:
            self._locals[function.lineno] = local_names(function)
        return self._locals[function.lineno]

    def line_of(self, name: str) -> int | None:
        """The first line that binds *name*; None when nothing in the module does."""
        return min((item.names.bound[name] for item in self.binders.get(name, ())), default=None)

    def _statements(
        self, body: Sequence[ast.stmt], indent: bytes, openings: tuple[Opening, ...]
    ) -> Iterator[Statement]:
        """What is in ``with DAG(...)`` counts as statements of the module, so that it can be shipped."""
        for node in body:
            first_line = self.text.first_line(node)
            if isinstance(node, ast.With) and self._is_of_pipeline(node):
                header = ast.copy_location(ast.With(node.items, [ast.Pass()]), node)
                yield Statement(header, first_line, indent, openings, module_names(header))
                inner = self._indent(self.text.first_line(node.body[0]))
                yield from self._statements(node.body, inner, (*openings, Opening(node.lineno, indent)))
            else:
                yield Statement(node, first_line, indent, openings, module_names(node))

    def _registers(self, node: ast.stmt) -> bool:
        parts = (part for part in running_nodes(node) if isinstance(part, (ast.Name, ast.Attribute)))
        return any(_is_registration(dotted) for part in parts for dotted in self.text.origins.of(part))

    def _is_of_pipeline(self, node: ast.With) -> bool:
        """Whether *node* is ``with DAG(...)`` or the like, and its body begins on a line of its own."""
        of_airflow = (
            any(map(stays_in_pipeline, self.text.origins.of(item.context_expr))) for item in node.items
        )
        return all(of_airflow) and node.body[0].lineno > _end_of_header(node)

    def _indent(self, line: int) -> bytes:
        text = self.text.lines[line - 1]
        return text[: len(text) - len(text.lstrip())]


def is_import(node: ast.stmt) -> bool:
    return isinstance(node, (ast.Import, ast.ImportFrom))


def import_names(statement: Statement) -> Iterator[tuple[str, ast.alias]]:
    """The names that an import statement binds, each with its part of the statement."""
    if isinstance(statement.node, (ast.Import, ast.ImportFrom)):
        yield from ((bound_name(statement.node, alias), alias) for alias in statement.node.names)


def running_nodes(statement: ast.stmt) -> Iterator[ast.AST]:
    """The nodes of *statement* that run when it does: not what is in the bodies of functions."""
    stack: list[ast.AST] = [statement]
    while stack:
        node = stack.pop()
        yield node
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            stack += [*node.decorator_list, *node.args.defaults, *filter(None, node.args.kw_defaults)]
        elif not isinstance(node, ast.Lambda):
            stack.extend(children(node))


def _is_framing(node: ast.stmt, *, is_first: bool) -> bool:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return is_first and isinstance(node.value.value, str)
    return isinstance(node, ast.ImportFrom) and node.module == "__future__"


def _is_registration(dotted: str) -> bool:
    return dotted.startswith("airflow_mlpipe.") and dotted.endswith(f".{_REGISTER}")


def _is_function(node: ast.stmt) -> bool:
    return isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))


def _end_of_header(node: ast.With) -> int:
    last = node.items[-1].optional_vars or node.items[-1].context_expr
    return last.end_lineno or node.lineno


def _grouped(pairs: Iterable[tuple[str, Statement]]) -> dict[str, list[Statement]]:
    groups: defaultdict[str, list[Statement]] = defaultdict(list)
    for name, statement in pairs:
        groups[name].append(statement)
    return dict(groups)


class _Changes:
    """Which names a statement changes, as far as its syntax tells."""

    def __init__(
        self, binders: Mapping[str, Sequence[Statement]], steps: frozenset[str], *, asks_for_subclasses: bool
    ) -> None:
        self._binders = binders
        self._steps = steps
        self._asks_for_subclasses = asks_for_subclasses
        self._imported = {
            name for name, items in binders.items() if all(is_import(item.node) for item in items)
        }
        self._by_body: dict[str, tuple[set[str], set[str]]] = {}

    def surely(self, statement: Statement) -> set[str]:
        """The names that it changes when it runs."""
        names = set()
        for node in running_nodes(statement.node):
            names |= self._changed(node)
            for decorator in getattr(node, "decorator_list", ()):
                maker = decorator.func if isinstance(decorator, ast.Call) else decorator
                names |= self._owner(maker) - self._imported
        return names - self._steps

    def perhaps(self, statement: Statement) -> set[str]:
        """The names that it may change by what it calls when it runs."""
        names = set()
        for node in running_nodes(statement.node):
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
                names |= _receivers(node.value)
            names |= self._changed_by_calling(_called(node))
            if isinstance(node, ast.ClassDef):
                told = self._told_of_subclass(node)
                names |= told | self._changed_by_calling(told)
        return names - self._steps

    def _told_of_subclass(self, node: ast.ClassDef, below: frozenset[str] = frozenset()) -> set[str]:
        """The classes of this module, metaclasses included, that may do something when *node* is defined."""
        told: set[str] = set()
        for name in set(_bases(node)) - below:
            for item in self._binders.get(name, ()):
                if isinstance(item.node, ast.ClassDef):
                    above = self._told_of_subclass(item.node, below | {name})
                    if above or self._asks_for_subclasses or _hears_of_subclasses(item.node):
                        told |= {name, *above}
        return told

    def _changed(self, node: ast.AST) -> set[str]:
        if isinstance(node, (ast.Attribute, ast.Subscript)) and not isinstance(node.ctx, ast.Load):
            return self._owner(node)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            return self._owner(node.value.func) - self._imported
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in _CHANGING
        ):
            return self._owner(node.func) - self._imported
        return set()

    @staticmethod
    def _owner(expression: ast.expr) -> set[str]:
        """``a`` in ``a.b`` and ``a["b"].c``. What a call returns is no part of what was called."""
        inner = expression
        while isinstance(inner, (ast.Attribute, ast.Subscript)):
            inner = inner.value
        return {inner.id} if isinstance(inner, ast.Name) and inner is not expression else set()

    def _changed_by_calling(self, called: Iterable[str]) -> set[str]:
        """What the bodies of the functions and classes *called* change, and of those that these call."""
        changed: set[str] = set()
        seen = set(called)
        pending = list(seen)
        while pending:
            changes, calls = self._body(pending.pop())
            changed |= changes
            pending += calls - seen
            seen |= calls
        return changed

    def _body(self, name: str) -> tuple[set[str], set[str]]:
        """What the body of the function or class *name* changes, and what it calls."""
        if name not in self._by_body:
            changes: set[str] = set()
            calls: set[str] = set()
            for item in self._binders.get(name, ()):
                if isinstance(item.node, (ast.FunctionDef, ast.ClassDef)) and name not in self._steps:
                    changes |= item.names.assigned
                    for node in ast.walk(item.node):
                        changes |= self._changed(node).intersection(item.names.used)
                        calls |= set(_called(node)).intersection(item.names.used)
            self._by_body[name] = changes, calls
        return self._by_body[name]


def _called(node: ast.AST) -> Iterator[str]:
    """The plain names that *node* calls, be it as decorators."""
    for expression in (node, *getattr(node, "decorator_list", ())):
        if isinstance(expression, ast.Call):
            expression = expression.func
        elif expression is node:
            continue
        if isinstance(expression, ast.Name):
            yield expression.id


def _bases(node: ast.ClassDef) -> Iterator[str]:
    """The plain names of what the class inherits from, and of its metaclass."""
    for expression in (*node.bases, *(keyword.value for keyword in node.keywords)):
        if isinstance(expression, ast.Name):
            yield expression.id


def _hears_of_subclasses(node: ast.ClassDef) -> bool:
    names = {getattr(member, "name", None) for member in node.body}
    return _INIT_SUBCLASS in names or "type" in _bases(node)


def _receivers(call: ast.Call) -> set[str]:
    """The names that a call, whose result nobody takes, may be there to change."""
    owner = root_name(call.func)
    if owner == "print":
        return set()
    given = (*call.args, *(keyword.value for keyword in call.keywords))
    names = {item.id for item in given if isinstance(item, ast.Name)}
    return names if owner is None or isinstance(call.func, ast.Name) else {owner, *names}
