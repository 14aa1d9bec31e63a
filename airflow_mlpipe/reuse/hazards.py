"""What code may do that neither its import statements nor its syntax tree show.

Six questions about one module, each answered with a sentence or None:

- *dynamic*: may it import, run or list Python files that its import statements do not name?
- *text*: does it read source text or line numbers, so that comments and layout matter?
- *docstrings*: does it read docstrings?
- *path*: may it change where Python looks for modules? That is dynamic, too.
- *lister*: does it list, copy or pack folders? That is everyday code; but where the same code names a
  folder of its own, Python files in there are read as data;
- *undeclared*: does it ask for what other steps logged, which is no declared input?

The answers err on the side of yes. A yes costs a rerun after an edit that did not matter; a wrong no
would reuse a stale result. Names are followed through ``import ... as ...``; a module that has a
dangerous member and is handed around as a value counts as used in the dangerous way.
"""

from __future__ import annotations

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

from airflow_mlpipe.reuse.code_tree import names_only_data
from airflow_mlpipe.reuse.telling_names import (
    BUILTINS,
    GUARDED,
    KEYWORDS,
    LISTERS,
    WORDS,
    Finding,
    Kind,
    imported,
    used,
    word_in,
)

# Where "." stands for the folder of the code, rather than for a full stop.
_HOLDERS = (
    ast.AnnAssign, ast.Assign, ast.BoolOp, ast.Call, ast.IfExp, ast.List, ast.Return, ast.arguments,
    ast.keyword,
)  # fmt: skip
_OF_TEXTS = frozenset(
    {
        "count", "endswith", "find", "index", "partition", "replace", "rfind", "rindex", "rpartition",
        "rsplit", "rstrip", "split", "startswith", "strip",
    }
)  # fmt: skip

_PYTHON_FILE = re.compile(r"\S*\.pyw?")
_LINE_NUMBER = re.compile(r"%\(lineno\)|\{[\w.]*\blineno\b|\$\{?lineno\b")


@dataclass(frozen=True)
class Hazards:
    """Sentences such as "line 3 uses os.system"; None where nothing was found."""

    dynamic: str | None = None
    text: str | None = None
    docstrings: str | None = None
    path: str | None = None
    lister: str | None = None
    undeclared: str | None = None


def find_hazards(tree: ast.Module) -> Hazards:
    """The first hazard of each kind in *tree*, in the order of its lines."""
    first: dict[Kind, tuple[int, str]] = {}
    finder = _Finder(tree)
    for kind, line, what in finder.findings():
        first[kind] = min(first.get(kind, (line, what)), (line, what))
    if finder.lister is not None:
        line, name = finder.lister
        first["lister"] = line, f"uses {name}"
    return Hazards(**{kind: f"line {line} {what}" for kind, (line, what) in first.items()})


class _Finder:
    def __init__(self, tree: ast.Module) -> None:
        self._tree = tree
        self._names: defaultdict[str, set[tuple[str, ...]]] = defaultdict(set)  # local name -> dotted names
        # "import pickle as pk", while pk is unused
        self._renamed: dict[str, tuple[int, tuple[str, ...]]] = {}
        self._code_folder: int | None = None  # the line that speaks of the folder of the code
        self.lister: tuple[int, str] | None = None
        """The first line that lists folders, and by what; known once all findings were made."""
        self._parsed = _parsed_arguments(tree)

    def findings(self) -> Iterator[Finding]:
        for node in ast.walk(self._tree):
            if isinstance(node, ast.Import):
                yield from self._import(node)
            elif isinstance(node, ast.ImportFrom):
                yield from self._import_from(node)
        # Not ast.walk: a node below "(...).parent" is judged by what is around it.
        stack: list[tuple[ast.AST, bool]] = [(self._tree, False)]
        while stack:
            node, in_folder = stack.pop()
            if isinstance(node, (ast.Attribute, ast.Name)):
                if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load):
                    yield from _assigned(node.attr, node.lineno)
                names, base = _chain(node)
                yield from self._used(names, base is None, node.lineno, in_folder)
                if base is not None:
                    stack.append((base, in_folder or not {"parent", "parents"}.isdisjoint(names)))
                continue
            if isinstance(node, _HOLDERS) and _holds_here(node):
                self._code_folder = self._code_folder or _line(node)
            if isinstance(node, ast.Constant):
                yield from self._constant(node, in_folder)
            elif isinstance(node, ast.Subscript):
                yield from self._item(node, in_folder)
            elif isinstance(node, ast.Call):
                yield from self._call(node)
                if _last_name(node.func) == "dirname":
                    in_folder = True
                elif _is_weights_only(node) or self._is_of_parsed_arguments(node):
                    stack.extend((argument.value, in_folder) for argument in node.keywords)
                    stack.extend((argument, in_folder) for argument in node.args)
                    continue
            stack.extend((child, in_folder) for child in ast.iter_child_nodes(node))
        yield from self._leftovers()

    def _import(self, node: ast.Import) -> Iterator[Finding]:
        for alias in node.names:
            names = tuple(alias.name.split("."))
            if alias.asname:
                self._names[alias.asname].add(names)
                if names in GUARDED and alias.asname != alias.name:
                    self._renamed[alias.asname] = node.lineno, names
            else:
                self._names[names[0]].add(names[:1])
            yield from imported(names, node.lineno)

    def _import_from(self, node: ast.ImportFrom) -> Iterator[Finding]:
        module = tuple((node.module or "").split(".")) if node.module else ()
        for alias in node.names:
            if alias.name == "*":
                for kind in GUARDED.get(module, ()):
                    yield kind, node.lineno, f"imports everything from {'.'.join(module)}"
                names = module
            else:
                names = (*module, alias.name)
                self._names[alias.asname or alias.name].add(names)
                if names in GUARDED and alias.asname:
                    self._renamed[alias.asname] = node.lineno, names
            if node.level == 0:
                yield from imported(names, node.lineno)
            if alias.name in WORDS:
                yield WORDS[alias.name], node.lineno, f"imports {alias.name}"
            elif alias.name == "__file__":
                yield from self._own_file(node.lineno, in_folder=False)

    def _used(self, names: tuple[str, ...], rooted: bool, line: int, in_folder: bool) -> Iterator[Finding]:
        """*names* is ``a.b.c`` in the text; *rooted* says that it starts with a plain name."""
        root, rest = names[0], names[1:]
        imported = self._names.get(root, set()) if rooted else set()
        self._renamed.pop(root, None)
        candidates = {names, *((*dotted, *rest) for dotted in imported)}
        for candidate in candidates:
            yield from used(candidate, line)
            if imported and candidate in GUARDED:
                for kind in GUARDED[candidate]:
                    yield kind, line, f"hands {'.'.join(candidate)} around as a value"
        if rooted and not imported and not rest and root in BUILTINS:
            yield BUILTINS[root], line, f"uses {root}"
        for name in names:
            if name in WORDS:
                yield WORDS[name], line, f"uses {name}"
        if self.lister is None and (listers := LISTERS.intersection(chain(*candidates))):
            self.lister = line, min(listers)
        if names[-1] in {"cwd", "getcwd", "getcwdb", "curdir"}:
            self._code_folder = self._code_folder or line
        if "__file__" in names:
            yield from self._own_file(line, in_folder)

    def _own_file(self, line: int, in_folder: bool) -> Iterator[Finding]:
        if in_folder:
            self._code_folder = self._code_folder or line
        else:
            yield "text", line, "uses the path of its own file other than for its folder"

    def _constant(self, node: ast.Constant, in_folder: bool) -> Iterator[Finding]:
        value, line = node.value, node.lineno
        if not isinstance(value, str):
            return
        if (word := word_in(value)) is not None:
            yield WORDS[word], line, f"names {word!r}"
        elif value == "__file__":
            yield from self._own_file(line, in_folder)
        elif _LINE_NUMBER.search(value):
            yield "text", line, "has a format with line numbers"
        elif value == "TYPE_CHECKING":
            yield from _assigned(value, line)
        elif _PYTHON_FILE.fullmatch(value):
            yield "dynamic", line, f"names the Python file {value!r}"
            yield "text", line, f"names the Python file {value!r}"

    def _item(self, node: ast.Subscript, in_folder: bool) -> Iterator[Finding]:
        first = isinstance(node.slice, ast.Constant) and node.slice.value == 0
        if first and _last_name(node.value) in {"argv", "orig_argv"}:
            yield from self._own_file(node.lineno, in_folder)

    def _call(self, node: ast.Call) -> Iterator[Finding]:
        for keyword in node.keywords:
            off = isinstance(keyword.value, ast.Constant) and not keyword.value.value
            if keyword.arg in KEYWORDS and not off:
                yield "dynamic", node.lineno, f"passes {keyword.arg}"
        name = _last_name(node.func)
        if isinstance(node.func, ast.Name) and name == "dir":
            yield "docstrings", node.lineno, "uses dir"
        nowhere = not node.args and name in {"Path", "listdir", "scandir"}
        empty = bool(node.args) and _is_text(node.args[0], "") and name in {"Path", "abspath", "realpath"}
        if nowhere or empty or self._globs_here(node):
            self._code_folder = self._code_folder or node.lineno

    def _globs_here(self, node: ast.Call) -> bool:
        """Whether the function of the module glob looks for any file in the working directory."""
        names, base = _chain(node.func)
        called = (
            {(*dotted, *names[1:]) for dotted in self._names.get(names[0], ())} if base is None else set()
        )
        elsewhere = any(keyword.arg == "root_dir" for keyword in node.keywords)
        if elsewhere or not node.args or called.isdisjoint({("glob", "glob"), ("glob", "iglob")}):
            return False
        pattern = node.args[0].value if isinstance(node.args[0], ast.Constant) else None
        return isinstance(pattern, str) and pattern[:1] in ("*", "?", "[") and not names_only_data(pattern)

    def _is_of_parsed_arguments(self, node: ast.Call) -> bool:
        """``vars(args)`` of what argparse gave: a namespace, which has no docstring of the author's."""
        if not (isinstance(node.func, ast.Name) and node.func.id == "vars" and len(node.args) == 1):
            return False
        argument = node.args[0]
        return _parses(argument) or (isinstance(argument, ast.Name) and argument.id in self._parsed)

    def _leftovers(self) -> Iterator[Finding]:
        for name, (line, names) in self._renamed.items():
            for kind in GUARDED[names]:
                yield kind, line, f"imports {'.'.join(names)} as {name}, for others to use"
        if self._code_folder is not None and self.lister is not None:
            line, name = self.lister
            yield "dynamic", line, f"uses {name}, which may list the folder of the code"
            yield "text", line, f"uses {name}, which may list the folder of the code"


def _holds_here(node: ast.AST) -> bool:
    if isinstance(node, ast.Call) and _last_name(node.func) in _OF_TEXTS:
        return False
    return any(_is_text(child, ".", "./") for child in ast.iter_child_nodes(node))


def _is_text(node: ast.AST, *values: str) -> bool:
    return isinstance(node, ast.Constant) and node.value in values


def _line(node: ast.AST) -> int:
    """The line of *node*, or of what is in it: the parameters of a function have none."""
    return next(inner.lineno for inner in ast.walk(node) if isinstance(inner, ast.expr))


def _parsed_arguments(tree: ast.Module) -> frozenset[str]:
    """The names that, wherever they are bound, stand for the result of a parser's ``parse_args``."""
    parsed: Counter[str] = Counter()
    bound: Counter[str] = Counter()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None and _parses(node.value):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [item for target in targets for item in ast.walk(target) if isinstance(item, ast.Name)]
            parsed.update(name.id for name in names if isinstance(name.ctx, ast.Store))
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            bound[node.id] += 1
        elif isinstance(node, ast.arg):
            bound[node.arg] += 1
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            bound[node.name] += 1
        elif isinstance(node, ast.alias):
            bound[(node.asname or node.name).partition(".")[0]] += 1
    return frozenset(name for name, times in parsed.items() if bound[name] == times)


def _parses(value: ast.expr) -> bool:
    return isinstance(value, ast.Call) and _last_name(value.func) in {"parse_args", "parse_known_args"}


def _assigned(attribute: str, line: int) -> Iterator[Finding]:
    # Blocks under "if TYPE_CHECKING" are left out of everything, so nobody may make it true.
    if attribute == "TYPE_CHECKING":
        yield "dynamic", line, "sets TYPE_CHECKING"
        yield "text", line, "sets TYPE_CHECKING"


def _chain(node: ast.expr) -> tuple[tuple[str, ...], ast.expr | None]:
    """``a.b.c`` is (("a", "b", "c"), None); ``f().b.c`` is (("b", "c"), the call)."""
    names: list[str] = []
    current = node
    while isinstance(current, ast.Attribute):
        names.append(current.attr)
        current = current.value
    if isinstance(current, ast.Name):
        names.append(current.id)
        return tuple(reversed(names)), None
    return tuple(reversed(names)), current


def _last_name(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def _is_weights_only(call: ast.Call) -> bool:
    """``torch.load(..., weights_only=True)``, which unpickles no classes of the author's."""
    return _last_name(call.func) == "load" and any(
        keyword.arg == "weights_only"
        and isinstance(keyword.value, ast.Constant)
        and keyword.value.value is True
        for keyword in call.keywords
    )
