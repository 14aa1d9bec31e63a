"""Which module-level names a piece of code uses: Python's own rules of scope, read off a syntax tree.

``symtable`` answers this for a whole module; here it is asked for single statements, and the answer is
the same on every Python (since 3.12 ``symtable`` takes the variables of a comprehension for names of the
scope around it). An annotation that is a string counts like the expression that it holds.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Function = ast.FunctionDef | ast.AsyncFunctionDef
_Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp

# Statements of which some part may not run, so that what they bind may stay unbound.
_CONDITIONAL = (
    ast.If,
    ast.For,
    ast.AsyncFor,
    ast.While,
    ast.Try,
    ast.Match,
    getattr(ast, "TryStar", ast.Try),
)
# What Python 3.12 added: "type X = int" and "def f[T]()".
_TYPE_ALIAS: type[ast.AST] | tuple[()] = getattr(ast, "TypeAlias", ())
_TYPE_PARAMETER: type[ast.AST] | tuple[()] = getattr(ast, "type_param", ())


@dataclass(frozen=True)
class ModuleNames:
    """What one statement, at the top level of a module, has to do with the module's names.

    ``bound``: the names it binds or deletes when it runs, with the first line that does.
    ``run``: the names it uses when it runs; those in the bodies of its functions are not among them.
    ``used``: the names it uses in any way, builtins included, in the order of the text.
    ``declared``: the names that its functions declare ``global``; ``assigned``: those that they then bind.
    """

    bound: Mapping[str, int]
    run: frozenset[str]
    used: tuple[str, ...]
    declared: frozenset[str]
    assigned: frozenset[str]


def module_names(statement: ast.stmt) -> ModuleNames:
    """The names of *statement*, as if it stood at the top level of a module."""
    module = _read(statement)
    answer = _Answer()
    answer.take(module, frozenset())
    return ModuleNames(
        bound=module.bound,
        run=frozenset(answer.run),
        used=tuple(answer.used),
        declared=frozenset(answer.declared),
        assigned=frozenset(answer.assigned),
    )


def local_names(function: Function) -> Mapping[str, int]:
    """The parameters and variables of *function*, each with the first line that binds it."""
    stack = [_read(function)]
    while stack:
        scope = stack.pop()
        if scope.node is function:
            foreign = scope.declared_global | scope.declared_nonlocal
            return {name: line for name, line in scope.bound.items() if name not in foreign}
        stack.extend(scope.inner)
    raise AssertionError("a function has a scope")


def own_nodes(function: Function) -> Iterator[ast.AST]:
    """The nodes of the body of *function*, without those of functions and classes inside it."""
    stack: list[ast.AST] = list(function.body)
    while stack:
        node = stack.pop()
        yield node
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            stack.extend(children(node))


def children(node: ast.AST) -> Iterator[ast.AST]:
    """The parts of *node* in the order of the text: ``ast.iter_child_nodes``, in half its time."""
    for field_name in node._fields:
        value = getattr(node, field_name, None)
        if isinstance(value, list):
            for item in value:
                if isinstance(item, ast.AST):
                    yield item
        elif isinstance(value, ast.AST) and not isinstance(value, ast.expr_context):
            yield value


@dataclass(eq=False)
class _Scope:
    """The names of one scope. ``runs``: its code runs as soon as the statement that holds it."""

    node: ast.AST | None
    runs: bool
    private: str = ""  # the class whose name mangles "__x"
    parent: _Scope | None = None
    bound: dict[str, int] = field(default_factory=dict)
    used: dict[str, None] = field(default_factory=dict)
    declared_global: set[str] = field(default_factory=set)
    declared_nonlocal: set[str] = field(default_factory=set)
    inner: list[_Scope] = field(default_factory=list)
    # A class body looks in the module for what it has not bound yet.
    certain: bool = True
    fresh: set[str] = field(default_factory=set)
    settled: set[str] = field(default_factory=set)
    early: set[str] = field(default_factory=set)

    def bind(self, name: str, line: int) -> None:
        name = self.mangled(name)
        self.bound.setdefault(name, line)
        if self.certain:
            self.fresh.add(name)

    def use(self, name: str) -> None:
        name = self.mangled(name)
        self.used.setdefault(name)
        if name not in self.settled:
            self.early.add(name)

    def delete(self, name: str, line: int) -> None:
        self.use(name)
        self.bound.setdefault(self.mangled(name), line)
        self.settled.discard(self.mangled(name))

    def begin(self, statement: ast.stmt) -> None:
        """The next statement of a class body follows: what was bound surely is now there."""
        self.settled |= self.fresh
        self.fresh.clear()
        self.certain = not isinstance(statement, _CONDITIONAL)

    def mangled(self, name: str) -> str:
        owner = self.private.lstrip("_")
        if not owner or not name.startswith("__") or name.endswith("__"):
            return name
        return f"_{owner}{name}"

    def child(self, node: ast.AST | None, *, runs: bool, private: str | None = None) -> _Scope:
        scope = _Scope(node, runs, self.private if private is None else private, self)
        self.inner.append(scope)
        return scope

    def holder(self) -> _Scope:
        """The scope that gets the names of ``:=``: not a comprehension's own."""
        scope = self
        while isinstance(scope.node, _Comprehension) and scope.parent is not None:
            scope = scope.parent
        return scope


def _read(statement: ast.stmt) -> _Scope:
    """The scope of a module that holds nothing but *statement*."""
    module = _Scope(node=None, runs=True)
    # An explicit stack, because generated code may nest deeper than Python recurses.
    stack: list[tuple[_Scope, ast.AST]] = [(module, statement)]
    while stack:
        scope, node = stack.pop()
        if isinstance(scope.node, ast.ClassDef) and isinstance(node, ast.stmt) and node in scope.node.body:
            scope.begin(node)
        stack.extend(reversed(list(_parts(scope, node))))
    return module


def _parts(scope: _Scope, node: ast.AST) -> Iterator[tuple[_Scope, ast.AST]]:
    """Note the names of *node* itself, and give its parts, each with the scope it belongs to."""
    if isinstance(node, ast.Name):
        if isinstance(node.ctx, ast.Load):
            scope.use(node.id)
        elif isinstance(node.ctx, ast.Del):
            scope.delete(node.id, node.lineno)
        else:
            scope.bind(node.id, node.lineno)
        return
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        yield from _function(scope, node)
        return
    if isinstance(node, ast.Lambda):
        yield from _function_parts(scope, scope, node)
        return
    if isinstance(node, ast.ClassDef):
        yield from _class(scope, node)
        return
    if isinstance(node, _Comprehension):
        yield from _comprehension(scope, node)
        return
    if _TYPE_ALIAS and isinstance(node, _TYPE_ALIAS):
        yield from _type_alias(scope, node)
        return
    if isinstance(node, ast.NamedExpr):
        yield scope.holder(), node.target
        yield scope, node.value
        return
    if isinstance(node, ast.AnnAssign):
        yield from ((scope, part) for part in _annotation(node.annotation))
        yield from ((scope, part) for part in (node.target, node.value) if part is not None)
        return
    _names_as_text(scope, node)
    yield from ((scope, child) for child in children(node))


def _names_as_text(scope: _Scope, node: ast.AST) -> None:
    """The names that a node holds as text rather than as nodes."""
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        for alias in node.names:
            if alias.name != "*":
                scope.bind(bound_name(node, alias), node.lineno)
    elif isinstance(node, ast.AugAssign):
        if isinstance(node.target, ast.Name):
            scope.use(node.target.id)
    elif isinstance(node, ast.Global):
        scope.declared_global.update(map(scope.mangled, node.names))
    elif isinstance(node, ast.Nonlocal):
        scope.declared_nonlocal.update(map(scope.mangled, node.names))
    elif isinstance(node, (ast.ExceptHandler, ast.MatchAs, ast.MatchStar)):
        if node.name is not None:
            scope.bind(node.name, node.lineno)
    elif isinstance(node, ast.MatchMapping):
        if node.rest is not None:
            scope.bind(node.rest, node.lineno)
    elif _TYPE_PARAMETER and isinstance(node, _TYPE_PARAMETER):
        scope.bind(node.name, node.lineno)  # type: ignore[attr-defined]


def bound_name(statement: ast.Import | ast.ImportFrom, alias: ast.alias) -> str:
    """The name that *alias* of an import statement binds; "*" for all there are."""
    if alias.asname is not None or isinstance(statement, ast.ImportFrom):
        return alias.asname or alias.name
    return alias.name.partition(".")[0]


def _function(scope: _Scope, node: Function) -> Iterator[tuple[_Scope, ast.AST]]:
    scope.bind(node.name, node.lineno)
    yield from ((scope, decorator) for decorator in node.decorator_list)
    typed = _typed(scope, node)
    yield from ((typed, part) for part in getattr(node, "type_params", ()))
    if node.returns is not None:
        yield from ((typed, part) for part in _annotation(node.returns))
    yield from _function_parts(scope, typed, node)


def _function_parts(
    scope: _Scope, typed: _Scope, node: Function | ast.Lambda
) -> Iterator[tuple[_Scope, ast.AST]]:
    """Defaults in *scope*, annotations in *typed*, and the rest in a scope of its own."""
    arguments = node.args
    inner = typed.child(node, runs=False)
    for default in (*arguments.defaults, *arguments.kw_defaults):
        if default is not None:
            yield scope, default
    for argument in parameters(node):
        inner.bind(argument.arg, argument.lineno)
        if argument.annotation is not None:
            yield from ((typed, part) for part in _annotation(argument.annotation))
    body = [node.body] if isinstance(node, ast.Lambda) else node.body
    yield from ((inner, part) for part in body)


def parameters(function: Function | ast.Lambda) -> list[ast.arg]:
    """All parameters of *function*, those with stars included."""
    arguments = function.args
    stars = [argument for argument in (arguments.vararg, arguments.kwarg) if argument is not None]
    return [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, *stars]


def _class(scope: _Scope, node: ast.ClassDef) -> Iterator[tuple[_Scope, ast.AST]]:
    scope.bind(node.name, node.lineno)
    yield from ((scope, decorator) for decorator in node.decorator_list)
    typed = _typed(scope, node)
    yield from ((typed, part) for part in getattr(node, "type_params", ()))
    yield from ((typed, part) for part in (*node.bases, *node.keywords))
    inner = typed.child(node, runs=scope.runs, private=node.name)
    yield from ((inner, part) for part in node.body)


def _type_alias(scope: _Scope, node: Any) -> Iterator[tuple[_Scope, ast.AST]]:
    """``type X[T] = list[T]``: what stands behind the sign is looked at only when somebody asks for it."""
    yield scope, node.name
    typed = _typed(scope, node)
    yield from ((typed, part) for part in node.type_params)
    yield typed.child(None, runs=False), node.value


def _typed(scope: _Scope, node: ast.AST) -> _Scope:
    """The scope of the type parameters of *node*, which is *scope* itself where there are none."""
    return scope.child(None, runs=scope.runs) if getattr(node, "type_params", ()) else scope


def _comprehension(scope: _Scope, node: _Comprehension) -> Iterator[tuple[_Scope, ast.AST]]:
    inner = scope.child(node, runs=scope.runs)
    first, *others = node.generators
    yield scope, first.iter
    yield inner, first.target
    yield from ((inner, part) for part in (*first.ifs, *others))
    results = (node.key, node.value) if isinstance(node, ast.DictComp) else (node.elt,)
    yield from ((inner, part) for part in results)


def _annotation(annotation: ast.expr) -> Iterator[ast.AST]:
    """An annotation, and the expressions in the strings of which it consists."""
    yield annotation
    stack: list[ast.AST] = [annotation]
    while stack:
        node = stack.pop()
        if isinstance(node, ast.Subscript) and _last_name(node.value) == "Literal":
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            try:
                yield ast.parse(node.value.strip(), mode="eval").body
            except (SyntaxError, ValueError):
                continue
        stack.extend(children(node))


def _last_name(expression: ast.expr) -> str:
    if isinstance(expression, ast.Attribute):
        return expression.attr
    return expression.id if isinstance(expression, ast.Name) else ""


class _Answer:
    """Collects, over a tree of scopes, the names that no function around them binds."""

    def __init__(self) -> None:
        self.run: set[str] = set()
        self.used: dict[str, None] = {}
        self.declared: set[str] = set()
        self.assigned: set[str] = set()

    def take(self, scope: _Scope, hidden: frozenset[str]) -> None:
        """*hidden*: the names that the functions around *scope* bind."""
        is_module, is_class = scope.parent is None, isinstance(scope.node, ast.ClassDef)
        self.declared |= scope.declared_global
        self.assigned |= scope.declared_global & scope.bound.keys()
        if is_module or is_class:
            visible, within = scope.bound.keys() - scope.early if is_class else set(), hidden
            missing = [
                name
                for name in (*scope.used, *(scope.declared_global & scope.bound.keys()))
                if name not in visible and (name in scope.bound or name not in hidden)
            ]
        else:
            within = (hidden | scope.bound.keys()) - scope.declared_global
            missing = [name for name in (*scope.used, *scope.bound) if name not in within]
        for name in missing:
            self.used.setdefault(name)
            if scope.runs:
                self.run.add(name)
        for inner in scope.inner:
            self.take(inner, within)
