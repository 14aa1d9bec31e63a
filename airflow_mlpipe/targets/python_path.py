"""What PYTHONPATH adds to the places in which a step's process looks for modules."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

VARIABLE = "PYTHONPATH"


@dataclass(frozen=True)
class PythonPath:
    """The entries of a step's PYTHONPATH, in order, but for what this package puts before and after them.

    A relative entry is one of the step's working directory, which is its copy of the source directory.
    """

    entries: tuple[str, ...] = ()

    @classmethod
    def of_step(cls, declared: Mapping[str, str], *, is_isolated: bool) -> PythonPath:
        """What the author *declared*, else the worker's own; a virtual environment gets nothing of that."""
        inherited = "" if is_isolated else os.environ.get(VARIABLE, "")
        text = declared.get(VARIABLE, inherited)
        return cls(tuple(text.split(os.pathsep)) if text else ())

    @property
    def inside(self) -> tuple[str, ...]:
        """The folders of the source directory, as "" or "a/b/"."""
        relative = (posixpath.normpath(entry) for entry in self.entries if not Path(entry).is_absolute())
        return tuple("" if path == "." else path + "/" for path in relative if path.split("/")[0] != "..")

    @property
    def outside(self) -> tuple[str, ...]:
        """The absolute paths."""
        return tuple(entry for entry in self.entries if Path(entry).is_absolute())

    def after(self, folder: Path) -> str:
        """The variable's value, with *folder* put first."""
        return os.pathsep.join([str(folder), *self.entries])
