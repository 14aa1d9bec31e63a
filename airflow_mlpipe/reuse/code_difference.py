"""What changed in a file of a step's code, as text for people."""

from __future__ import annotations

import ast
import difflib
import io
import tokenize
from dataclasses import dataclass

LARGEST_FILE = 256 * 1024  # bytes
MOST_LINES = 5_000
LONGEST_DIFF = 200  # lines


@dataclass(frozen=True)
class CodeDifference:
    """How the text of one file changed: a unified diff that ends in a line feed, or "" for none.

    ``note`` says why there is no diff, or what is missing of it; None for a whole one. ``names`` are those of
    the functions, classes and variables of a module that came, went or changed, in an order of their own.
    """

    diff: str
    note: str | None = None
    names: tuple[str, ...] = ()


def code_difference(path: str, old: bytes | None, new: bytes | None) -> CodeDifference:
    """How the file at *path* changed from *old* to *new*; None is no such file.

    A file that is no text, or larger than ``LARGEST_FILE`` bytes or ``MOST_LINES`` lines, has no diff; one
    longer than ``LONGEST_DIFF`` lines is cut.
    """
    before, after = _lines(old), _lines(new)
    if isinstance(before, str) or isinstance(after, str):
        return CodeDifference("", before if isinstance(before, str) else str(after))
    if old == new:
        return CodeDifference("", "its text is the same; whether or how it counts has changed")
    from_file = "/dev/null" if old is None else f"a/{path}"
    to_file = "/dev/null" if new is None else f"b/{path}"
    lines = list(difflib.unified_diff(before, after, from_file, to_file, lineterm=""))
    if not lines:
        return CodeDifference("", "no line of it differs: it is empty, or its encoding has changed")
    left = len(lines) - LONGEST_DIFF
    note = f"{left} more lines of the diff are not shown" if left > 0 else None
    names = _changed_names(old or b"", new or b"") if path.endswith(".py") else ()
    return CodeDifference("\n".join(lines[:LONGEST_DIFF]) + "\n", note, names)


def _changed_names(old: bytes, new: bytes) -> tuple[str, ...]:
    """The names that two modules bind differently; none when one of them is no Python of this version."""
    try:
        before, after = _definitions(ast.parse(old).body), _definitions(ast.parse(new).body)
    except (SyntaxError, ValueError, RecursionError):
        return ()
    return tuple(sorted(name for name in {*before, *after} if before.get(name) != after.get(name)))


def _definitions(body: list[ast.stmt]) -> dict[str, list[str]]:
    """By name, the statements of a module that bind it, without where they stand."""
    found: dict[str, list[str]] = {}
    for statement in body:
        for name in _bound(statement):
            found.setdefault(name, []).append(ast.dump(statement))
    return found


def _bound(statement: ast.stmt) -> set[str]:
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return {statement.name}
    if isinstance(statement, ast.If):  # what stood inside a function is kept below "if True:"
        return {name for inner in statement.body for name in _bound(inner)}
    if isinstance(statement, (ast.Import, ast.ImportFrom)):
        return {alias.asname or alias.name.partition(".")[0] for alias in statement.names}
    names = (node for node in ast.walk(statement) if isinstance(node, ast.Name))
    return {node.id for node in names if isinstance(node.ctx, ast.Store)}


def _lines(data: bytes | None) -> list[str] | str:
    """The lines of a file without their ends; a sentence when it has none that can be compared."""
    if data is None:
        return []
    if len(data) > LARGEST_FILE:
        return f"it is larger than {LARGEST_FILE // 1024} KiB"
    try:
        # UTF-8, unless the file says otherwise in the way that Python files do.
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        text = data.decode(encoding)
    except (SyntaxError, UnicodeDecodeError, LookupError):
        return "it is not a text"
    if "\0" in text:
        return "it is not a text"
    lines = text.split("\n")
    if len(lines) > MOST_LINES:
        return f"it has more than {MOST_LINES} lines"
    last = lines.pop()
    return [*lines, f"{last}\n\\ No newline at end of file"] if last else lines
