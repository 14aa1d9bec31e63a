"""The text of a module, prepared for taking parts of it away.

What a step's function never sees is blanked: the decorators that make steps, and the blocks that run only
under a type checker or when the file is run by hand. Relative imports become absolute, because what is
shipped lies elsewhere. Every line keeps its number.
"""

from __future__ import annotations

import ast
import itertools
import warnings
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from airflow_mlpipe.reuse.scopes import bound_name, parameters
from airflow_mlpipe.reuse.syntax import type_checking_blocks

Chain = tuple[ast.stmt, ...]
"""The statements around a statement, the outermost first."""


@dataclass(frozen=True)
class ModuleText:
    """A module after what is blanked was blanked.

    ``lines`` are UTF-8, as the columns of ``tree`` count. ``definitions`` has the line of the ``def`` of each
    function by its name and its first line in the original, decorators included. ``steps`` are the lines of
    the ``def`` of those functions that are steps.
    """

    tree: ast.Module
    lines: list[bytes]
    origins: Origins
    definitions: dict[tuple[str, int], int]
    steps: frozenset[int]

    def first_line(self, node: ast.stmt) -> int:
        """The line on which *node* begins, its decorators included."""
        decorators = getattr(node, "decorator_list", ())
        return _line_of_sign(self.lines, decorators[0]) if decorators else node.lineno

    def text(self, node: ast.stmt) -> bytes:
        """The text of *node* without what stands before and behind it on its lines."""
        lines = self.lines[self.first_line(node) - 1 : node.end_lineno]
        lines[-1] = lines[-1][: node.end_col_offset]
        lines[0] = lines[0][node.col_offset :]
        return b"\n".join(lines)


def prepare(source: str, package: str, makers: Collection[str] = ()) -> ModuleText:
    """Prepare the text of a module of *package*, "" when it is in none.

    *makers* are names in it that make steps of functions, as far as its text does not tell. Raises
    SyntaxError, ValueError or RecursionError for what this Python cannot parse.
    """
    text = source.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").encode()
    lines, tree = text.split(b"\n"), _parse(text)
    idle = {id(block) for block in type_checking_blocks(tree)} if b"TYPE_CHECKING" in text else set()
    statements = list(walk_statements(tree.body, idle))
    idle |= {id(node) for node, _ in statements if isinstance(node, ast.If) and _is_main(node.test)}
    if idle:
        statements = list(walk_statements(tree.body, idle))
    origins = Origins(package, [node for node, _ in statements], makers)

    edits: list[_Edit] = []
    definitions, steps = {}, set()
    columns_moved = False
    for node, chain in statements:
        if id(node) in idle and isinstance(node, ast.If):
            edits.append(_without_body(lines, node))
            node.body = [ast.copy_location(ast.Pass(), node.body[0])]
        elif isinstance(node, ast.ImportFrom) and node.level and package:
            edits.append(_absolute(lines, node, package))
            columns_moved = True
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            decorators = node.decorator_list
            definitions[node.name, decorators[0].lineno if decorators else node.lineno] = node.lineno
            if (count := _decorators_of_step(node, chain, origins)) is not None:
                steps.add(node.lineno)
                edits.append(_without_decorators(lines, node, count))
                del node.decorator_list[:count]
    text = _edited(text, lines, edits)
    if columns_moved:
        tree = _parse(text)
    return ModuleText(tree, text.split(b"\n"), origins, definitions, frozenset(steps))


def walk_statements(
    body: Sequence[ast.stmt], idle: Collection[int] = (), chain: Chain = ()
) -> Iterator[tuple[ast.stmt, Chain]]:
    """Every statement in *body*, at any depth, in the order of the text.

    *idle* are the ids of ``if`` statements whose body is left out.
    """
    for node in body:
        yield node, chain
        inner = (*chain, node)
        if id(node) not in idle:
            yield from walk_statements(getattr(node, "body", ()), idle, inner)
        for part in (*getattr(node, "handlers", ()), *getattr(node, "cases", ())):
            yield from walk_statements(part.body, idle, inner)
        yield from walk_statements(getattr(node, "orelse", ()), idle, inner)
        yield from walk_statements(getattr(node, "finalbody", ()), idle, inner)


class Origins:
    """What the names of a module stand for, as far as its imports tell: dotted names.

    Imports anywhere in the module count, and so do names that are assigned from what comes from Airflow or
    from this package: after ``on_gpu = step(compute_target="gpu")`` a function below ``@on_gpu`` is a step.
    """

    def __init__(self, package: str, statements: Sequence[ast.stmt], makers: Collection[str] = ()) -> None:
        self._names: dict[str, set[str]] = {name: {_STEP} for name in makers}
        for node in statements:
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                for alias in node.names:
                    self._names.setdefault(bound_name(node, alias), set()).add(origin(node, alias, package))
        for node in statements:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                found = {dotted for dotted in self.of(node.value) if stays_in_pipeline(dotted)}
                if found:
                    self._names.setdefault(node.targets[0].id, set()).update(found)

    def of(self, expression: ast.expr) -> set[str]:
        """What *expression* may stand for; a call stands for what is called."""
        if isinstance(expression, ast.Name):
            return self._names.get(expression.id, set())
        if isinstance(expression, ast.Attribute):
            return {f"{dotted}.{expression.attr}" for dotted in self.of(expression.value)}
        if isinstance(expression, ast.Call):
            called = self.of(expression.func)
            if "functools.partial" in called and expression.args:
                return self.of(expression.args[0])
            return called
        return set()


def origin(statement: ast.Import | ast.ImportFrom, alias: ast.alias, package: str = "") -> str:
    """The dotted name of what *alias* binds. A relative import of a module in no package keeps its dots."""
    if isinstance(statement, ast.Import):
        return alias.name if alias.asname else alias.name.partition(".")[0]
    return f"{_absolute_module(statement, package)}.{alias.name}"


_STEP = "airflow_mlpipe.step"
# Beside a step there is no Airflow, and of this package only what steps themselves use.
_BESIDE_A_STEP = frozenset(
    {"ArtifactFormat", "Input", "OUTPUT", "Output", "Pickle", "Run", "errors", "register_artifact", "runtime"}
)


def stays_in_pipeline(dotted: str) -> bool:
    """Whether *dotted* is Airflow's or a pipeline's, so that there is no such thing beside a step."""
    top, _, rest = dotted.partition(".")
    if top == "airflow_mlpipe":
        return rest != "" and rest.partition(".")[0] not in _BESIDE_A_STEP
    return top == "airflow"


def _is_step_decorator(dotted: str) -> bool:
    names = dotted.split(".")
    if names[0] == "airflow":
        return names[-2:] == ["task", "mlpipe"]
    return names[0] == "airflow_mlpipe" and names[-1] == "step"


def _decorators_of_step(
    node: ast.FunctionDef | ast.AsyncFunctionDef, chain: Chain, origins: Origins
) -> int | None:
    """How many of the decorators of *node*, from the outermost, belong to the step; None for no step.

    Those outside ours get the step and not the function, so they are none of the function's.
    """
    for index in range(len(node.decorator_list) - 1, -1, -1):
        decorator = node.decorator_list[index]
        if any(map(_is_step_decorator, origins.of(decorator))) and not _is_parameter(decorator, chain):
            return index + 1
    return None


def _is_parameter(decorator: ast.expr, chain: Chain) -> bool:
    """Whether the name with which *decorator* begins is a parameter of a function around it."""
    root = root_name(decorator)
    functions = (node for node in chain if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))
    return any(parameter.arg == root for function in functions for parameter in parameters(function))


def root_name(expression: ast.expr) -> str | None:
    """``a`` in ``a.b[0](c).d``; None when there is no such name."""
    while isinstance(expression, (ast.Attribute, ast.Subscript, ast.Call, ast.Starred)):
        expression = expression.func if isinstance(expression, ast.Call) else expression.value
    return expression.id if isinstance(expression, ast.Name) else None


def _is_main(test: ast.expr) -> bool:
    """``__name__ == "__main__"``: neither Airflow nor a step runs the file as the main program."""
    if not (isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], ast.Eq)):
        return False
    sides = (test.left, test.comparators[0])
    named = any(isinstance(side, ast.Name) and side.id == "__name__" for side in sides)
    return named and any(isinstance(side, ast.Constant) and side.value == "__main__" for side in sides)


def _parse(text: bytes) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escapes and the like are the author's business
        return ast.parse(text.decode())


def _line_of_sign(lines: Sequence[bytes], decorator: ast.expr) -> int:
    """The line of the "@", which a parenthesis may separate from its expression."""
    line = decorator.lineno
    while not lines[line - 1].lstrip().startswith(b"@"):
        line -= 1
    return line


@dataclass(frozen=True, order=True)
class _Edit:
    """Text to put in place of another; lines count from 1, columns from 0 in bytes, the end is exclusive."""

    line: int
    column: int
    end_line: int
    end_column: int
    text: bytes


def _edited(text: bytes, lines: Sequence[bytes], edits: Sequence[_Edit]) -> bytes:
    starts = [0, *itertools.accumulate(len(line) + 1 for line in lines)]
    parts, done = [], 0
    for edit in sorted(edits):
        parts += [text[done : starts[edit.line - 1] + edit.column], edit.text]
        done = starts[edit.end_line - 1] + edit.end_column
    return b"".join((*parts, text[done:]))


def _without_decorators(
    lines: Sequence[bytes], node: ast.FunctionDef | ast.AsyncFunctionDef, count: int
) -> _Edit:
    """Decorators have lines of their own, so the *count* outermost ones go as whole lines."""
    first = _line_of_sign(lines, node.decorator_list[0])
    rest = node.decorator_list[count:]
    end = _line_of_sign(lines, rest[0]) if rest else node.lineno
    return _Edit(first, 0, end, 0, b"\n" * (end - first))


def _without_body(lines: Sequence[bytes], node: ast.If) -> _Edit:
    first, last = node.body[0], node.body[-1]
    decorators = getattr(first, "decorator_list", ())
    line = _line_of_sign(lines, decorators[0]) if decorators else first.lineno
    end = last.end_lineno or last.lineno
    # Up to the end of the line: only a semicolon or a comment can follow a body there.
    return _Edit(line, first.col_offset, end, len(lines[end - 1]), b"pass" + b"\n" * (end - line))


def _absolute(lines: Sequence[bytes], node: ast.ImportFrom, package: str) -> _Edit:
    """An import over several lines stays one: the newlines go into its parentheses."""
    if node.level > len(package.split(".")):
        raise SyntaxError(f"line {node.lineno} imports from beyond the top-level package")
    end, end_column = node.end_lineno or node.lineno, node.end_col_offset or 0
    head = f"from {_absolute_module(node, package)} import "
    names = ", ".join(map(ast.unparse, node.names))
    if newlines := end - node.lineno:
        names = "\\\n" * newlines + names if names == "*" else f"({names}" + "\n" * newlines + ")"
    return _Edit(node.lineno, node.col_offset, end, end_column, (head + names).encode())


def _absolute_module(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    parents = package.split(".")[: len(package.split(".")) - (node.level - 1)] if package else []
    dots = "" if package else "." * node.level
    return dots + ".".join([*parents, *([node.module] if node.module else [])])
