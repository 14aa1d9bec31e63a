"""The formats of artifacts, and how one is found: by its own name, or by the type of a value.

Types go by their dotted names, so that no library is imported to learn that a value is none of its own.
"""

from __future__ import annotations

import functools
import re
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

from airflow_mlpipe.errors import DefinitionError, UserError

# Modules beside this one, each with a tuple FORMATS. Of two formats for one type, the first that accepts it.
BUILT_IN = ("frames", "arrays", "estimators", "tensors", "figures", "plain", "pickled")

WAYS_OUT = (
    "write it to a path with an Output[Path] parameter, register a format for it with register_artifact, "
    "or annotate it as Pickle[...] where it is returned and where it is taken"
)

_FORMAT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")

FormatT = TypeVar("FormatT", bound="ArtifactFormat | type[ArtifactFormat]")


class ArtifactFormat(ABC):
    """How values of some types become a file, and a file such a value again.

    ``name`` names the format wherever an artifact of it is described, ``file`` the file in the artifact's
    folder. ``types`` are the types that it writes, ``reads`` more of them that it can read its files as. Each
    is a class, or a dotted name such as ``"pandas.core.frame.DataFrame"``, so that its library need not be
    imported; subclasses count as well.

    Equal values should become equal bytes: what has not changed does not disturb the steps that take it.
    """

    name: str
    file: str
    types: tuple[str | type, ...] = ()
    reads: tuple[str | type, ...] = ()

    def accepts(self, value: Any) -> bool:
        """Whether it can write *value*, which is of one of its types."""
        return True

    @abstractmethod
    def write(self, value: Any, path: Path) -> None:
        """Write *value* to *path*, whose folder exists. Raises UserError for a value it cannot hold."""

    @abstractmethod
    def read(self, path: Path, wanted: str) -> Any:
        """Read what was written to *path* as the type *wanted*, a dotted name.

        It is one of ``types`` or ``reads``, or, when the reader asks for no type or for one that is unknown
        here, the name that was recorded with the artifact. Raises DocumentError when the file is damaged.
        """

    def type_of(self, value: Any) -> str:
        """The dotted name to record for *value*: the nearest of ``types`` that it is an instance of."""
        nearest = (name for name in dotted_names(type(value)) if name in self.writable)
        return next(nearest, dotted_name(type(value)))

    def library(self, module: str, *, package: str = "", extra: str = "") -> Any:
        """Import *module*, of the distribution *package* when its name is another.

        Raises UserError that says how to install it; *extra* is the one of airflow-mlpipe that brings it.
        """
        try:
            return import_module(module)
        except ImportError as error:
            package = package or module.partition(".")[0]
            also = f" or install airflow-mlpipe[{extra}]" if extra else ""
            raise UserError(
                f"the artifact format {self.name} needs {package}, which cannot be imported here ({error}); "
                f"add it to the step's Environment (pip_packages=[{package!r}]){also}"
            ) from error

    @functools.cached_property
    def writable(self) -> frozenset[str]:
        """The dotted names of ``types``."""
        return frozenset(map(dotted_name, self.types))

    @functools.cached_property
    def readable(self) -> frozenset[str]:
        """The dotted names of ``types`` and ``reads``."""
        return self.writable | frozenset(map(dotted_name, self.reads))


def register_artifact(format: FormatT) -> FormatT:
    """Make a format known to this process; also a decorator of a class. Returns *format*.

    A class is instantiated without arguments. A format replaces the one of the same name, and of two formats
    for the same type the one that was registered last writes it. Raises DefinitionError for a format without
    a usable name, file or type.
    """
    instance = format() if isinstance(format, type) else format
    who = type(instance).__qualname__
    for attribute, pattern in (("name", _FORMAT_NAME), ("file", _FILE_NAME)):
        value = getattr(instance, attribute, None)
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise DefinitionError(
                f"the {attribute} of the artifact format {who} is {value!r}; "
                "it is a text of letters, digits, '.', '_' and '-' that starts with a letter or digit"
            )
    if not isinstance(instance.types, tuple) or not instance.types:
        raise DefinitionError(
            f"the types of the artifact format {who} are {instance.types!r}; "
            "name at least one, in a tuple, such as types = (Scorecard,)"
        )
    _registered.pop(instance.name, None)  # the new one counts as registered last
    _registered[instance.name] = instance
    return format


def format_for(value: Any) -> ArtifactFormat | None:
    """The format that writes *value*, by the nearest of its type's bases that has one; None without one."""
    known = list(_formats())
    for name in dotted_names(type(value)):
        for format in known:
            if name in format.writable and format.accepts(value):
                return format
    return None


def format_named(name: str) -> ArtifactFormat:
    """The format of that name. Raises UserError when this process does not know it."""
    for format in _formats():
        if format.name == name:
            return format
    raise UserError(
        f"it is an artifact of the format {name!r}, which is not known here; "
        "register it with register_artifact in the module of this function too"
    )


def libraries() -> frozenset[str]:
    """The top-level modules that the types of the built-in formats come from, Python's own left out."""
    names = (name for format in _built_in() for name in format.readable if "." in name)
    return frozenset(name.partition(".")[0] for name in names) - sys.stdlib_module_names


def dotted_name(kind: str | type) -> str:
    """The name of a type with that of its module, which is left out for Python's own; a text as it is."""
    if isinstance(kind, str):
        return kind
    module = kind.__module__
    return kind.__qualname__ if module == "builtins" else f"{module}.{kind.__qualname__}"


def dotted_names(kind: type) -> list[str]:
    """The dotted names of *kind* and its bases, nearest first."""
    return [dotted_name(base) for base in kind.__mro__]


_registered: dict[str, ArtifactFormat] = {}


def _formats() -> Iterator[ArtifactFormat]:
    """Those that count first, first."""
    yield from reversed(_registered.values())
    yield from (format for format in _built_in() if format.name not in _registered)


@functools.cache
def _built_in() -> tuple[ArtifactFormat, ...]:
    modules = [import_module(f"airflow_mlpipe.runtime.artifacts.{name}") for name in BUILT_IN]
    return tuple(format for module in modules for format in module.FORMATS)
