"""Edits of a project: what may change a step's result, and what cannot."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Literal

from tests.mutations import python_edits
from tests.mutations.layouts import distribution
from tests.mutations.project import Data, Output, Param, Project
from tests.mutations.python_edits import TextEdit

Effect = Literal["semantic", "neutral", "coarse"]
Manner = Literal["write", "keep times", "touch", "replace", "move"]


@dataclass(frozen=True)
class Edit:
    """One edit of a project.

    ``semantic``: it may change the result; only running the step tells. ``neutral``: it cannot, and it
    must not rerun the step. ``coarse``: it cannot, and the documentation says that it may rerun the step
    all the same. ``manner`` is what is done to the files besides writing those that differ.
    """

    kind: str
    effect: Effect
    where: str
    after: Project = field(repr=False)
    manner: Manner = "write"


def edits_of(project: Project, chooser: random.Random) -> Iterator[Edit]:
    """Every edit of *project* that is known; *chooser* picks where only one of many places is edited."""
    yield from _code(project)
    yield from _idle_code(project)
    yield from _files(project)
    yield from _new_files(project)
    yield from _shadows(project)
    yield from _installed(project)
    yield from _arguments(project)
    yield from _parameters(project)
    yield from _variables(project)
    yield from _surroundings(project, chooser)


# -- the step's code ------------------------------------------------------------------------------------


def _code(project: Project) -> Iterator[Edit]:
    for path in project.live:
        text, encoding = _decoded(project.files[path])
        reads = project.reads_text(path)
        for edit in python_edits.meaningful(text):
            yield _rewritten(project, path, edit, encoding, "semantic")
        for edit in python_edits.documentary(text):
            effect = "semantic" if reads else _docstring_effect(project, edit)
            yield _rewritten(project, path, edit, encoding, effect)
        for edit in python_edits.textual(text):
            yield _rewritten(project, path, edit, encoding, "semantic" if reads else "neutral")
        for edit in _unused_code(text):
            yield _rewritten(project, path, edit, encoding, "semantic" if reads else "coarse")
        yield from _encodings(project, path, text, encoding)


def _docstring_effect(project: Project, edit: TextEdit) -> Effect:
    if "docstrings" in project.observes or edit.kind == "a docstring becomes another statement":
        return "semantic"
    return "coarse" if project.imports_strangers else "neutral"


def _unused_code(text: str) -> Iterator[TextEdit]:
    line = text.count("\n") + 1
    yield TextEdit(
        "another function is added", line, f"{text}\n\ndef unused_function(a):\n    return a + 1\n"
    )
    yield TextEdit("an unused import is added", line, f"{text}\nimport keyword as unused_import\n")


def _encodings(project: Project, path: str, text: str, encoding: str) -> Iterator[Edit]:
    seen: Effect = "semantic" if project.reads_text(path) else "neutral"
    if encoding == "utf-8":
        marked = project.with_file(path, b"\xef\xbb\xbf" + project.files[path])
        yield Edit("a byte order mark is added", seen, path, marked)
        return
    again = text.replace(encoding, "utf-8", 1).encode()
    yield Edit("the same text in another encoding", seen, path, project.with_file(path, again))
    other = project.files[path].replace(encoding.encode(), b"iso8859-15", 1)
    yield Edit("the same bytes in another encoding", "semantic", path, project.with_file(path, other))


def _rewritten(project: Project, path: str, edit: TextEdit, encoding: str, effect: Effect) -> Edit:
    after = project.with_file(path, edit.text.encode(encoding))
    return Edit(edit.kind, effect, f"{path}:{edit.line}", after)


def _decoded(content: bytes) -> tuple[str, str]:
    declared = re.match(rb"#.*coding: ([\w-]+)", content)
    encoding = declared[1].decode() if declared else "utf-8"
    return content.decode(encoding), encoding


def _idle_code(project: Project) -> Iterator[Edit]:
    """Whatever happens to modules that the step does not load."""
    effect: Effect = "coarse" if "modules" in project.observes else "neutral"
    for path in sorted(project.idle):
        content = project.files[path] + b"\nX = 1\n"
        yield Edit("a module out of reach is changed", effect, path, project.with_file(path, content))
        yield Edit("a module out of reach is removed", effect, path, project.with_file(path, None))
    new = f"{project.source}/quite_new.py"
    for content in (b"X = 1\n", b"import importlib\n", b"def (\n"):
        yield Edit("a module out of reach is added", effect, new, project.with_file(new, content))
    package = project.with_file(f"{project.source}/quite/__init__.py", b"").with_file(
        f"{project.source}/quite/new.py", b"X = 1\n"
    )
    yield Edit("a module out of reach is added", effect, f"{project.source}/quite/", package)


# -- files ----------------------------------------------------------------------------------------------


def _files(project: Project) -> Iterator[Edit]:
    given = [path for path in sorted(project.files) if path not in project.idle and _is_given(project, path)]
    for path in given:
        content = project.files[path]
        yield Edit("a file is removed", "semantic", path, project.with_file(path, None))
        folder, _, name = path.rpartition("/")
        renamed = project.with_file(path, None).with_file(f"{folder}/renamed_{name}", content)
        yield Edit("a file is renamed", "semantic", path, renamed)
        for other in _other_bytes(content):
            rewritten = project.with_file(path, other)
            yield Edit("a byte changes, size and time stay", "semantic", path, rewritten, "keep times")
        flipped = replace(project, executable=project.executable ^ {path})
        effect: Effect = "neutral" if path.endswith(".py") else "semantic"
        yield Edit("an executable bit is flipped", effect, path, flipped)
    for one, next_one in pairwise(given):
        first, second = project.files[one], project.files[next_one]
        swapped = project.with_file(one, second).with_file(next_one, first)
        yield Edit("two files exchange their contents", "semantic", one, swapped)
    for path in sorted(project.links):
        for target in _other_targets(project, path):
            linked = replace(project, links={**project.links, path: target})
            yield Edit("a link leads elsewhere", "semantic", path, linked)


def _is_given(project: Project, path: str) -> bool:
    """Whether the step can see the file at all: as its code, or as a declared input."""
    inputs = [item.path for item in project.arguments if isinstance(item, Data)]
    below = any(path == name or path.startswith(f"{name}/") for name in inputs)
    return below or path.startswith(f"{project.source}/") or path.endswith(".py")


def _other_bytes(content: bytes) -> Iterator[bytes]:
    """Contents of the same size, with one letter or digit exchanged for another."""
    places = [index for index, byte in enumerate(content) if chr(byte).isascii() and chr(byte).isalnum()]
    for index in places[:1] + places[len(places) // 2 :][:1] + places[-1:]:
        new = b"7" if content[index : index + 1] != b"7" else b"8"
        yield content[:index] + new + content[index + 1 :]


def _other_targets(project: Project, path: str) -> Iterator[str]:
    folder = path.rpartition("/")[0]
    for candidate in ("lib/spare.py", "lib/shallow"):
        is_module = candidate.endswith(".py")
        there = any(name.startswith(f"{folder}/{candidate}") for name in project.files)
        if there and is_module == path.endswith(".py"):
            yield candidate


def _new_files(project: Project) -> Iterator[Edit]:
    """Files that the step does not read, where it could and where it could not."""
    folders = {path.rpartition("/")[0] for path in project.files if path.startswith(f"{project.source}/")}
    lists = "modules" in project.observes
    for folder in sorted(folders):
        path = f"{folder}/zz_new.txt"
        added = project.with_file(path, b"new\n")
        effect: Effect = "semantic" if lists or folder == project.read else "coarse"
        yield Edit("a data file is added among the code", effect, path, added)
    if project.read is not None:
        path = f"{project.read}/zz_new.py"
        added = project.with_file(path, b"X = 1\n")
        yield Edit("a module is added to a folder that is read", "semantic", path, added)
    for item in project.arguments:
        if isinstance(item, Data) and item.path not in project.files:
            path = f"{item.path}/three.txt"
            yield Edit("a file is added to an input", "semantic", path, project.with_file(path, b"3"))
    for path in ("notes.md", "other/train.py", "elsewhere/__init__.py", "data/more.csv", "other_dag.py"):
        added = project.with_file(path, b"VALUE = 1\n")
        yield Edit("an unrelated file is added to the bundle", "neutral", path, added)
    for path, content in sorted(project.files.items()):
        if not _is_given(project, path):
            changed = project.with_file(path, content + b"more")
            yield Edit("an unrelated file of the bundle is changed", "neutral", path, changed)
    path = f"{project.source}/__pycache__/helper.cpython-311.pyc"
    yield Edit("Python's cache appears", "neutral", path, project.with_file(path, b"cache"))


# -- modules that come first ----------------------------------------------------------------------------

_DECOY = b"def __getattr__(name):\n    return lambda *items, **named: 'decoy'\n"


def _shadows(project: Project) -> Iterator[Edit]:
    """A module of a name that is imported already, at a place that Python may look at first."""
    home = f"{project.source}/{project.script}".rpartition("/")[0]
    for name in sorted(_imported_names(project) | {"random"}):
        for path in (f"{home}/{name}.py", f"{home}/{name}/__init__.py"):
            if path not in project.files and f"{home}/{name}" not in project.links:
                yield Edit("a module hides another", "semantic", path, project.with_file(path, _DECOY))
    for path in project.live:
        folder, _, name = path.rpartition("/")
        package = f"{folder}/{name.removesuffix('.py')}/__init__.py"
        if name not in ("__init__.py", "train.py") and package not in project.files:
            yield Edit("a module becomes a package", "semantic", package, project.with_file(package, _DECOY))
        if name == "__init__.py":
            yield Edit(
                "a package becomes a module", "semantic", path, project.with_file(f"{folder}.py", _DECOY)
            )


def _imported_names(project: Project) -> set[str]:
    names: set[str] = set()
    for path in project.live:
        text, _ = _decoded(project.files[path])
        names.update(re.findall(r"^\s*(?:import|from) (\w+)", text, re.MULTILINE))
    return names - {"sys", "os"}


# -- what is installed ----------------------------------------------------------------------------------


def _installed(project: Project) -> Iterator[Edit]:
    """Upgrades, removals and arrivals of the packages that the layout of installed packages has."""
    if not project.site:
        return
    adding = "import tinycore\ndef add(a, b):\n    return a * b + tinycore.BIAS\n"
    upgrades: tuple[tuple[str, str, Effect, dict[str, bytes]], ...] = (
        ("tinymath", "a package", "semantic", distribution("tinymath", "1.1", adding, "tinycore>=1")),
        ("tinycore", "a package", "semantic", distribution("tinycore", "1.6", "BIAS = 100\n")),
        ("bystander", "another package", "neutral", distribution("bystander", "2.0", "VALUE = 1\n")),
    )
    for name, what, effect, upgraded in upgrades:
        kept = {
            path: data for path, data in project.site.items() if not path.startswith((f"{name}.", f"{name}-"))
        }
        yield Edit(f"{what} is upgraded", effect, name, _with_site(project, {**kept, **upgraded}))
        yield Edit(f"{what} is removed", effect, name, _with_site(project, kept))
    fast = {**project.site, **distribution("tinyfast", "0.1", "speed = 'fast'\n")}
    yield Edit("a package that was missed is installed", "semantic", "tinyfast", _with_site(project, fast))
    newcomer = {**project.site, **distribution("newcomer", "0.1", "X = 1\n")}
    yield Edit("another package is installed", "neutral", "newcomer", _with_site(project, newcomer))
    loose = {**project.site, "loose.py": b"LOOSE = 8\n"}
    yield Edit("a module that no package owns is changed", "semantic", "loose.py", _with_site(project, loose))


def _with_site(project: Project, site: dict[str, bytes]) -> Project:
    return replace(project, site=site)


# -- what the step is given -----------------------------------------------------------------------------


def _arguments(project: Project) -> Iterator[Edit]:
    def edit(kind: str, index: int, *arguments: Any, effect: Effect = "semantic") -> Edit:
        return Edit(kind, effect, f"argument {index + 1}", replace(project, arguments=arguments))

    given = project.arguments
    for index, item in enumerate(given):
        before, after = given[:index], given[index + 1 :]
        for kind, effect, other in _other_values(item):
            yield edit(kind, index, *before, other, *after, effect=effect)
        if not isinstance(item, Output):
            yield edit("an argument is dropped", index, *before, *after)
        if after:
            yield edit("two arguments of the step change places", index, *before, after[0], item, *after[1:])
    yield edit("an argument is added", len(given), *given, "more")


def _other_values(item: Any) -> Iterator[tuple[str, Effect, Any]]:
    if isinstance(item, (Data, Output, Param)):
        return
    if isinstance(item, str):
        if not item.startswith("--"):
            yield "an argument is changed", "semantic", item + "1"
        return
    yield "an argument is changed", "semantic", (not item) if isinstance(item, bool) else item + 1
    yield "an argument is written as a text", "neutral", str(item)
    if item == 1:
        for other in (1, 1.0, True):
            if type(other) is not type(item):
                yield "an argument becomes another type", "semantic", other


def _parameters(project: Project) -> Iterator[Edit]:
    used = {item.name for item in project.arguments if isinstance(item, Param)}
    for name, value in project.params.items():
        changed = replace(project, params={**project.params, name: value + 1})
        if name in used:
            yield Edit("a parameter is changed", "semantic", name, changed)
        else:
            yield Edit("a parameter of other steps is changed", "neutral", name, changed)


def _variables(project: Project) -> Iterator[Edit]:
    for name, value in project.variables.items():
        changed = replace(project, variables={**project.variables, name: value + "0"})
        yield Edit("a variable is changed", "semantic", name, changed)
        kept = {key: text for key, text in project.variables.items() if key != name}
        yield Edit("a variable is dropped", "semantic", name, replace(project, variables=kept))


# -- what surrounds the step ----------------------------------------------------------------------------

_SCHEDULING: tuple[dict[str, Any], ...] = (
    {"retries": 3}, {"pool": "other"}, {"queue": "gpu"}, {"priority_weight": 7}, {"doc_md": "A remark."},
    {"owner": "somebody"}, {"experiment": "other"}, {"mode": "poke"},
)  # fmt: skip


def _surroundings(project: Project, chooser: random.Random) -> Iterator[Edit]:
    touched = chooser.choice(sorted(project.files))
    yield Edit("nothing is changed", "neutral", "", project)
    yield Edit("every file is touched", "neutral", "", project, "touch")
    yield Edit("every file is replaced by an equal one", "neutral", touched, project, "replace")
    yield Edit("everything is copied elsewhere", "neutral", "", project, "move")
    for keywords in _SCHEDULING:
        scheduled = replace(project, operator=keywords)
        yield Edit("the task is scheduled otherwise", "neutral", str(keywords), scheduled)
    renamed = replace(project, dag_id="another_pipeline")
    yield Edit("the pipeline is renamed", "neutral", "", renamed)
    reordered = replace(project, variables=_reversed(project.variables), params=_reversed(project.params))
    if len(project.variables) > 1:
        yield Edit("keys come in another order", "neutral", "", reordered)


def _reversed(mapping: Mapping[str, Any]) -> dict[str, Any]:
    return dict(reversed([*mapping.items()]))
