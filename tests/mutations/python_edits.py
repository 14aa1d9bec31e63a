"""Edits of one Python file, found by walking its syntax tree and made in its text."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

_SWAPPED = {
    "Add": ("+", "-"), "Sub": ("-", "+"), "Mult": ("*", "+"), "Div": ("/", "*"), "FloorDiv": ("//", "*"),
    "Mod": ("%", "+"), "Pow": ("**", "*"), "LShift": ("<<", ">>"), "BitOr": ("|", "&"), "BitXor": ("^", "|"),
    "Lt": ("<", ">="), "Gt": (">", "<="), "GtE": (">=", "<"), "LtE": ("<=", ">"), "Eq": ("==", "!="),
    "NotEq": ("!=", "=="), "Is": ("is", "is not"), "IsNot": ("is not", "is"), "In": ("in", "not in"),
    "And": ("and", "or"), "Or": ("or", "and"),
}  # fmt: skip
_SIMPLE = (ast.Assign, ast.AugAssign, ast.AnnAssign, ast.Return, ast.Expr, ast.Import, ast.ImportFrom,
           ast.Delete, ast.Assert, ast.Global, ast.Continue)  # fmt: skip
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


class TextEdit(NamedTuple):
    """An edited text, with what was done and in which line."""

    kind: str
    line: int
    text: str


def meaningful(text: str) -> Iterator[TextEdit]:
    """Edits of each expression and statement of *text* that may change what it computes."""
    return _Mutator(text).edits()


def documentary(text: str) -> Iterator[TextEdit]:
    """Edits of each docstring: another text, one where there was none, none where there was one."""
    source = _Source(text)
    for node in ast.walk(source.tree):
        if not isinstance(node, _DOCUMENTED):
            continue
        if ast.get_docstring(node) is None:
            if not isinstance(node, ast.Module):
                yield source.insert_before(node.body[0], '"""A new docstring."""', "a docstring is added")
        else:
            first = node.body[0]
            yield source.replace(first, '"""Another docstring."""', "a docstring is changed")
            if len(node.body) > 1:
                yield source.replace(first, "0", "a docstring becomes another statement")


def textual(text: str) -> Iterator[TextEdit]:
    """Edits of comments and layout alone, each made at several places where there are several."""
    lines = text.splitlines(keepends=True)
    for number in sorted({0, len(lines) // 2, len(lines)} & _between_statements(text)):
        before, after = "".join(lines[:number]), "".join(lines[number:])
        if number > 0 or not text.startswith(("#", "\ufeff")):  # a first line may declare the encoding
            yield TextEdit("a comment is added", number + 1, f"{before}# A remark, 'quoted'.\n{after}")
            yield TextEdit("a blank line is added", number + 1, f"{before}\n\n{after}")
    if "#" in text:
        yield TextEdit("a comment is changed", 1, _with_other_comments(text))
    yield TextEdit("spaces at the ends of lines", 1, _with_trailing_spaces(text))
    yield TextEdit("lines end in CRLF", 1, text.replace("\n", "\r\n"))
    declaration = "".join(lines[:1]) if text.startswith("#") else ""
    yield TextEdit("everything is laid out anew", 1, declaration + ast.unparse(ast.parse(text)) + "\n")
    yield TextEdit("no newline at the end", len(lines), text.rstrip("\n"))


class _Source:
    """A text and its tree; positions of nodes as indexes into the text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tree = ast.parse(text)
        self._lines = text.splitlines(keepends=True)
        self._starts = [0]
        for line in self._lines:
            self._starts.append(self._starts[-1] + len(line))

    def start(self, node: ast.AST) -> int:
        return self._index(node.lineno, node.col_offset)  # type: ignore[attr-defined]

    def end(self, node: ast.AST) -> int:
        return self._index(node.end_lineno, node.end_col_offset)  # type: ignore[attr-defined]

    def of(self, node: ast.AST) -> str:
        return self.text[self.start(node) : self.end(node)]

    def cut(self, start: int, end: int, new: str, kind: str) -> TextEdit:
        """The text with *new* in place of what stands from *start* to *end*."""
        line = self.text.count("\n", 0, start) + 1
        return TextEdit(kind, line, self.text[:start] + new + self.text[end:])

    def replace(self, node: ast.AST, new: str, kind: str) -> TextEdit:
        return self.cut(self.start(node), self.end(node), new, kind)

    def insert_before(self, statement: ast.stmt, new: str, kind: str) -> TextEdit:
        decorated = getattr(statement, "decorator_list", [])
        line = min([statement.lineno, *(item.lineno for item in decorated)])
        start = self._starts[line - 1]
        return self.cut(start, start, f"{' ' * statement.col_offset}{new}\n", kind)

    def _index(self, line: int, column: int) -> int:
        """Columns of the tree count bytes of UTF-8."""
        before = self._lines[line - 1].encode()[:column].decode()
        return self._starts[line - 1] + len(before)


class _Mutator:
    def __init__(self, text: str) -> None:
        self._source = _Source(text)
        tree = self._source.tree
        self._documentation = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, _DOCUMENTED)
            and node.body
            and isinstance(node.body[0], ast.Expr)
            and ast.get_docstring(node) is not None
        }
        # Before Python 3.12 what stands inside an f-string has no place of its own.
        self._placeless = {
            id(inner)
            for node in ast.walk(tree)
            if isinstance(node, ast.JoinedStr)
            for inner in ast.walk(node)
        }
        self._defaults = {
            id(value)
            for node in ast.walk(tree)
            if isinstance(node, ast.arguments)
            for value in (*node.defaults, *node.kw_defaults)
        }

    def edits(self) -> Iterator[TextEdit]:
        for node in ast.walk(self._source.tree):
            if id(node) in self._placeless:
                continue
            if isinstance(node, ast.Constant) and id(node) not in self._documentation:
                yield from self._constant(node)
            elif isinstance(node, ast.BinOp):
                yield from self._operator(node.left, node.op, node.right)
            elif isinstance(node, ast.Compare):
                yield from self._operator(node.left, node.ops[0], node.comparators[0])
            elif isinstance(node, ast.BoolOp):
                yield from self._operator(node.values[0], node.op, node.values[1])
            elif isinstance(node, ast.UnaryOp):
                yield self._source.replace(node, f"({self._source.of(node.operand)})", "a sign is dropped")
            elif isinstance(node, ast.Call):
                yield from self._swapped(node.args, "two arguments change places")
            elif isinstance(node, (ast.List, ast.Tuple)):
                yield from self._swapped(node.elts, "two elements change places")
            elif isinstance(node, ast.If):
                test = self._source.of(node.test)
                yield self._source.replace(node.test, f"not ({test})", "a condition is negated")
            elif isinstance(node, ast.ImportFrom):
                yield from self._imported(node)
            elif isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)):
                yield from self._decorated(node)
            for block in ("body", "orelse", "finalbody"):
                statements = getattr(node, block, None)
                if isinstance(statements, list):
                    yield from self._statements(statements)

    def _constant(self, node: ast.Constant) -> Iterator[TextEdit]:
        value = node.value
        default = id(node) in self._defaults
        if isinstance(value, bool):
            yield self._source.replace(node, repr(not value), "a truth value is flipped")
        elif isinstance(value, (int, float)):
            kind = "a default is changed" if default else "a number is changed"
            yield self._source.replace(node, f"{value + 1!r}", kind)
            if isinstance(value, int):
                for other in (f"{value}.0", f"'{value}'", repr(bool(value))):
                    yield self._source.replace(node, f"{other}", "a number becomes another type")
        elif isinstance(value, str):
            yield self._source.replace(node, repr(value + "x"), "a text is changed")
        elif isinstance(value, bytes):
            yield self._source.replace(node, repr(value + b"x"), "a text is changed")
        elif value is None:
            yield self._source.replace(node, "0", "None becomes 0")

    def _operator(self, left: ast.expr, operator: ast.AST, right: ast.expr) -> Iterator[TextEdit]:
        if type(operator).__name__ not in _SWAPPED:
            return
        old, new = _SWAPPED[type(operator).__name__]
        start, end = self._source.end(left), self._source.start(right)
        between = self._source.text[start:end]
        if found := re.search(rf"{re.escape(old)}", between):
            begin = start + found.start()
            yield self._source.cut(begin, begin + len(old), new, "an operator is swapped")

    def _swapped(self, items: list[ast.expr], kind: str) -> Iterator[TextEdit]:
        for left, right in pairwise(items):
            if isinstance(left, ast.Starred) or isinstance(right, ast.Starred):
                continue
            start, end = self._source.start(left), self._source.end(right)
            middle = self._source.text[self._source.end(left) : self._source.start(right)]
            new = self._source.of(right) + middle + self._source.of(left)
            yield self._source.cut(start, end, new, kind)

    def _imported(self, node: ast.ImportFrom) -> Iterator[TextEdit]:
        for alias in node.names:
            if alias.name != "*" and alias.asname is None:
                new = f"{alias.name} as {alias.name}_renamed"
                yield self._source.replace(alias, new, "an import takes another name")

    def _decorated(self, node: ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef) -> Iterator[TextEdit]:
        for decorator in node.decorator_list:
            start = self._source.text.rindex("@", 0, self._source.start(decorator))
            yield self._source.cut(start, self._source.end(decorator), "", "a decorator is dropped")

    def _statements(self, statements: list[ast.stmt]) -> Iterator[TextEdit]:
        for statement in statements:
            if isinstance(statement, _SIMPLE) and not (
                isinstance(statement, ast.Expr) and id(statement.value) in self._documentation
            ):
                yield self._source.replace(statement, "pass", "a statement is dropped")
        for left, right in pairwise(statements):
            if isinstance(left, _SIMPLE) and isinstance(right, _SIMPLE):
                start, end = self._source.start(left), self._source.end(right)
                middle = self._source.text[self._source.end(left) : self._source.start(right)]
                new = self._source.of(right) + middle + self._source.of(left)
                yield self._source.cut(start, end, new, "two statements change places")


def _between_statements(text: str) -> set[int]:
    """The numbers of lines before which a line can be put without being inside of something."""
    inside: set[int] = set()
    for node in ast.parse(text).body:
        decorated = [item.lineno for item in getattr(node, "decorator_list", [])]
        inside.update(range(min([node.lineno, *decorated]), node.end_lineno or node.lineno))
    return set(range(len(text.splitlines()) + 1)) - inside


def _with_other_comments(text: str) -> str:
    lines = text.splitlines(keepends=True)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT and "coding" not in token.string:
            row, column = token.start
            lines[row - 1] = f"{lines[row - 1][:column]}# another remark\n"
    return "".join(lines)


def _with_trailing_spaces(text: str) -> str:
    """Spaces at the end of each line that ends a statement; inside of a text they would be part of it."""
    lines = text.splitlines(keepends=True)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.NEWLINE and token.string == "\n":
            row, column = token.start
            lines[row - 1] = f"{lines[row - 1][:column]}  \n"
    return "".join(lines)
