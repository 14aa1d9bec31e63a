"""A Python file as its syntax tree: what counts when comments and layout do not.

The digests are taken over an encoding of our own rather than over ``ast.dump``, whose text changes
from one Python version to the next: a node is its class name and those of its fields that are set,
each length-prefixed, so that no two trees share an encoding.
"""

from __future__ import annotations

import ast
import hashlib
import json
import posixpath
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass

from airflow_mlpipe.reuse.hazards import find_hazards

ANALYSER_VERSION = 4
"""Goes up whenever :func:`analyse` may answer differently for the same bytes."""

_TYPING = frozenset({"typing", "typing_extensions"})
_FLAG = "TYPE_CHECKING"
_LONGEST_PATH = 255
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
# What follows from the rest of the tree (ctx), or has no meaning at run time.
_FIELDS_WITHOUT_MEANING = frozenset({"ctx", "kind", "type_comment", "type_ignores"})


@dataclass(frozen=True)
class ImportedName:
    """One name of one import statement.

    ``import a.b`` is ("a.b", None, 0); ``from ..a import b`` is ("a", "b", 2); ``from a import *`` has
    the name "*".
    """

    module: str
    name: str | None
    level: int


@dataclass(frozen=True)
class SourceSyntax:
    """What one Python file says.

    ``digest`` ignores comments, layout and docstrings; ``documented_digest`` ignores comments and
    layout. ``dynamic``, ``text``, ``docstrings``, ``path``, ``lister`` and ``undeclared`` are the sentences
    of :class:`~airflow_mlpipe.reuse.hazards.Hazards`. ``paths`` are the strings that may be relative paths
    or the beginnings of such, normal and without a slash at their end. What stands under
    ``if TYPE_CHECKING`` is no part of any of these, since nothing runs it.
    """

    digest: str
    documented_digest: str
    imports: tuple[ImportedName, ...]
    dynamic: str | None
    text: str | None
    docstrings: str | None
    path: str | None
    lister: str | None
    undeclared: str | None
    paths: tuple[str, ...]

    def to_json(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> SourceSyntax:
        """Read what :meth:`to_json` wrote; ValueError, TypeError or KeyError for any other text."""
        document = json.loads(text)
        imports = tuple(ImportedName(**item) for item in document.pop("imports"))
        return cls(imports=imports, paths=tuple(document.pop("paths")), **document)


def analyse(data: bytes, filename: str) -> SourceSyntax | None:
    """Analyse one file of Python source, in whatever encoding it declares.

    Returns None when this Python cannot parse it; *filename* only serves messages of the parser.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes and the like are the author's business
            tree = _without_type_checking(ast.parse(data, filename))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    digest, documented_digest = _digests(tree)
    hazards = find_hazards(tree)
    return SourceSyntax(
        digest=digest,
        documented_digest=documented_digest,
        imports=tuple(dict.fromkeys(_imports(tree))),
        dynamic=hazards.dynamic,
        text=hazards.text,
        docstrings=hazards.docstrings,
        path=hazards.path,
        lister=hazards.lister,
        undeclared=hazards.undeclared,
        paths=tuple(sorted(set(_paths(tree)))),
    )


def _without_type_checking(tree: ast.Module) -> ast.Module:
    """Empty, in place, the blocks that surely nothing but a type checker reads."""
    for node in type_checking_blocks(tree):
        node.body = [ast.Pass()]
    return tree


def type_checking_blocks(tree: ast.Module) -> list[ast.If]:
    """The statements ``if TYPE_CHECKING`` whose body surely nothing but a type checker reads."""
    nodes = list(ast.walk(tree))
    flags = _type_checking_flags(nodes)
    return [node for node in nodes if isinstance(node, ast.If) and _is_one_of(flags, node.test)]


def _is_one_of(flags: set[str], test: ast.expr) -> bool:
    if isinstance(test, ast.Attribute) and isinstance(test.value, ast.Name):
        return f"{test.value.id}.{test.attr}" in flags
    return isinstance(test, ast.Name) and test.id in flags


def _type_checking_flags(nodes: list[ast.AST]) -> set[str]:
    """How a module writes the constant of ``typing`` that is false when it runs."""
    flags, rebound = set(), set()
    for node in nodes:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            module = "" if isinstance(node, ast.Import) or node.level else node.module
            for item in node.names:
                name = item.asname or item.name
                if isinstance(node, ast.Import) and item.name in _TYPING:
                    flags.add(f"{name}.{_FLAG}")
                elif module in _TYPING and item.name == _FLAG:
                    flags.add(name)
                else:
                    rebound.add(name.partition(".")[0])
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            rebound.add(node.id)
        elif isinstance(node, ast.arg):
            rebound.add(node.arg)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            rebound.add(node.name)
    return set() if "*" in rebound else {flag for flag in flags if flag.partition(".")[0] not in rebound}


def _imports(tree: ast.Module) -> Iterator[ImportedName]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (ImportedName(alias.name, None, 0) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (ImportedName(node.module or "", alias.name, node.level) for alias in node.names)


def _paths(tree: ast.Module) -> Iterator[str]:
    nodes = list(ast.walk(tree))
    keys = {key for node in nodes if (key := _looked_up(node)) is not None}
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in keys:
            yield from relative_paths([node.value])


def relative_paths(texts: Iterable[str]) -> Iterator[str]:
    """Those of *texts* that may name something below the working directory, as normal paths."""
    for text in texts:
        if text and len(text) <= _LONGEST_PATH and text.isprintable() and not text.startswith(("/", "-")):
            path = posixpath.normpath(text)
            if path != "." and not path.startswith(".."):
                yield path


def _looked_up(node: ast.AST) -> ast.expr | None:
    """The key in ``config["model"]`` and ``config.get("model")``, which is no path by itself."""
    if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
        return node.slice
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get":
        return node.args[0] if len(node.args) == 1 else None
    return None


def _digests(tree: ast.Module) -> tuple[str, str]:
    """The digest without docstrings, and the one with them."""
    code, docstrings = hashlib.sha256(b"python:1:"), hashlib.sha256(b"docstrings:1:")
    # An explicit stack, because generated code may nest deeper than Python recurses.
    stack: list[object] = [tree]
    while stack:
        item = stack.pop()
        if isinstance(item, ast.AST):
            code.update(b"(%s" % type(item).__name__.encode())
            if isinstance(item, _DOCUMENTED):
                docstrings.update(_encoded(ast.get_docstring(item, clean=False)))
            fields = _fields(item)
            code.update(b"%d" % len(fields))
            for name, value in reversed(fields):
                stack += (value, name)
        elif isinstance(item, list):
            code.update(b"[%d" % len(item))
            stack.extend(reversed(item))
        else:
            code.update(_encoded(item))
    plain = code.hexdigest()
    return plain, hashlib.sha256(f"{plain}:{docstrings.hexdigest()}".encode()).hexdigest()


def _fields(node: ast.AST) -> list[tuple[str, object]]:
    """The fields of *node* that are set, its docstring excepted.

    Fields that are not set are left out because each Python version adds some.
    """
    fields = {name: getattr(node, name, None) for name in node._fields if name not in _FIELDS_WITHOUT_MEANING}
    if isinstance(node, ast.Constant):
        return list(fields.items())
    if isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
        fields["body"] = node.body[1:]
    return [(name, value) for name, value in fields.items() if value is not None and value != []]


def _encoded(value: object) -> bytes:
    """A constant or a name with its type, so that ``1``, ``1.0``, ``True`` and ``"1"`` differ."""
    if isinstance(value, str):
        payload = value.encode("utf-8", "surrogatepass")
    elif isinstance(value, bytes):
        payload = value
    elif isinstance(value, int) and not isinstance(value, bool):
        payload = hex(value).encode()  # repr refuses very long integers
    else:
        payload = repr(value).encode()
    return b"%s %d:%s" % (type(value).__name__.encode(), len(payload), payload)
