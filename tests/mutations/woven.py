"""Projects woven at random: modules in folders, packages and at the root that import each other anyhow."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.mutations.project import Project

# Where a module may lie: its folder in the bundle, and the package by which it is imported.
_PLACES = (
    ("src", ""), ("src", ""), ("src/pack", "pack"), ("src/pack", "pack"), ("src/pack/inner", "pack.inner"),
    ("src/free", "free"), ("src/free/deep", "free.deep"),
    ("common", "common"), ("common/deep", "common.deep"),
)  # fmt: skip
_REGULAR = ("src/pack", "src/pack/inner", "common", "common/deep")
_MODULES = 9


def woven(seed: int) -> Project:
    """The project that *seed* stands for: always the same one."""
    weave = _Weave(random.Random(seed))
    files = {path: text.encode() for path, text in weave.files().items()}
    return Project(f"woven {seed}", files, idle=frozenset(files) - weave.loaded())


@dataclass
class _Module:
    number: int
    folder: str
    package: str
    targets: list[_Module] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)  # its import statements
    lazy_lines: list[str] = field(default_factory=list)  # those inside its function
    calls: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"m{self.number}"

    @property
    def reexport(self) -> str:
        """What its function is called in its package."""
        return f"out{self.number}"

    @property
    def dotted(self) -> str:
        return f"{self.package}.{self.name}".lstrip(".")

    @property
    def path(self) -> str:
        return f"{self.folder}/{self.name}.py"


class _Weave:
    """Modules import only later ones, so that nothing goes in circles."""

    def __init__(self, chooser: random.Random) -> None:
        self._chooser = chooser
        places = [chooser.choice(_PLACES) for _ in range(_MODULES)]
        self._modules = [_Module(number, *place) for number, place in enumerate(places)]
        self._reexported: dict[str, set[int]] = {folder: set() for folder in _REGULAR}
        self._entry = _Module(99, "src", "", targets=chooser.sample(self._modules[:4], 2))
        for module in (self._entry, *self._modules):
            self._fill(module)

    def files(self) -> dict[str, str]:
        files = {module.path: self._source(module) for module in self._modules}
        files["src/train.py"] = "\n".join(
            ["import sys", *self._entry.lines, *self._entry.lazy_lines, "total = 1"]
            + [f"total += {call}(total)" for call in self._entry.calls]
            + ['open(sys.argv[1], "w").write(str(total))', ""]
        )
        used = {folder for module in self._modules for folder in _around(module.folder)}
        for folder in used & set(_REGULAR):
            files[f"{folder}/__init__.py"] = "".join(
                f"from .m{number} import value as out{number}\n"
                for number in sorted(self._reexported[folder], reverse=True)
            )
        return files

    def loaded(self) -> set[str]:
        """The files that a run of the script loads."""
        loaded, pending = {"src/train.py"}, list(self._entry.targets)
        while pending:
            module = pending.pop()
            if module.path not in loaded:
                loaded.add(module.path)
                pending += module.targets
                for folder in set(_around(module.folder)) & set(_REGULAR):
                    loaded.add(f"{folder}/__init__.py")
                    pending += [self._modules[number] for number in self._reexported[folder]]
        return loaded

    def _fill(self, module: _Module) -> None:
        later = self._modules[module.number + 1 :]
        if module is not self._entry:
            reachable = [
                item for item in later if module.folder.startswith("src") or item.folder.startswith("common")
            ]
            module.targets = self._chooser.sample(
                reachable, min(len(reachable), self._chooser.choice((0, 1, 2)))
            )
        for target in module.targets:
            statement, call = self._chooser.choice(list(self._ways(module, target)))
            style = self._chooser.choice(("plain", "plain", "lazy", "tried", "conditional"))
            if call == target.reexport:
                self._reexported[target.folder].add(target.number)
                if module is not self._entry:
                    style = "lazy"  # at the top it may ask a package that is still being loaded
            if style == "lazy":
                module.lazy_lines.append(statement)
            elif style == "tried":
                module.lines.append(f"try:\n    {statement}\nexcept ImportError:\n    pass")
            elif style == "conditional":
                module.lines.append(f"if len(__name__) > 0:\n    {statement}")
            else:
                module.lines.append(statement)
            module.calls.append(call)

    def _ways(self, module: _Module, target: _Module) -> Iterator[tuple[str, str]]:
        """Statements by which *module* can import *target*, each with what to call afterwards."""
        alias = f"v{target.number}"
        yield f"import {target.dotted}", f"{target.dotted}.value"
        yield f"import {target.dotted} as {alias}", f"{alias}.value"
        yield f"from {target.dotted} import value as {alias}", alias
        if target.package:
            yield f"from {target.package} import {target.name}", f"{target.name}.value"
        if module.package and module.package.partition(".")[0] == target.package.partition(".")[0]:
            dots, rest = _relative(module.package, target.package)
            yield f"from {dots}{rest} import {target.name}", f"{target.name}.value"
            inner = f"{rest}.{target.name}".lstrip(".")
            yield f"from {dots}{inner} import value as {alias}", alias
        elif target.folder in _REGULAR:
            yield f"from {target.package} import {target.reexport}", target.reexport

    def _source(self, module: _Module) -> str:
        number = self._chooser.randint(2, 60)
        body = [f"total = value * {number % 7 + 2} + LEVEL", *module.lazy_lines]
        body += [f"total += {call}(total, {number % 5 + 1})" for call in module.calls]
        lines = [*module.lines, f"LEVEL = {number}", "", f"def value(value, step={number % 3 + 1}):"]
        return "\n".join([*lines, *(f"    {line}" for line in body), "    return (total - step) % 9973", ""])


def _around(folder: str) -> list[str]:
    parts = folder.split("/")
    return ["/".join(parts[: count + 1]) for count in range(len(parts))]


def _relative(package: str, other: str) -> tuple[str, str]:
    """How a module of *package* names the package *other* of the same top-level one: dots and the rest."""
    here, there = package.split("."), other.split(".")
    shared = 0
    while shared < min(len(here), len(there)) and here[shared] == there[shared]:
        shared += 1
    return "." * (len(here) - shared + 1), ".".join(there[shared:])
