"""Files that a script gives to its run: kept with the attempt, under a name that is given once.

A name is a path below ``files/`` of the attempt's directory. What a script leaves in ``./outputs`` of its
working directory comes to ``files/outputs/`` when the step has ended, so until then such a name leads there.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Protocol

from airflow_mlpipe.errors import UserError
from airflow_mlpipe.runtime.named_values import UnknownNameError

OUTPUTS = "outputs"
FILES = "files"


class KeptFiles(Protocol):
    """The files of a run, by name."""

    def keep(self, name: str, source: Path) -> None:
        """Keep a copy of the file *source* as *name*; UserError when that is not possible."""

    def names(self) -> list[str]:
        """The names of all files, sorted."""

    def path(self, name: str) -> Path:
        """Where the file or folder *name* lies now; UnknownNameError when there is none."""


class AttemptFiles:
    """The files of an attempt that keeps its records in *directory* and runs in *working_directory*."""

    def __init__(self, directory: Path, working_directory: Path) -> None:
        self._files = directory / FILES
        self._outputs = working_directory / OUTPUTS

    def keep(self, name: str, source: Path) -> None:
        """See :class:`KeptFiles`. A file that is already there under *name* stays as it is."""
        target = self._place(checked_name(name))
        if not source.is_file():
            raise UserError(f"{name!r} cannot be kept: {source} is no file; write it before it is uploaded")
        if target.exists() and target.samefile(source):
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            shutil.copyfile(source, temporary)
            os.link(temporary, target)  # unlike a rename, a link never replaces
        except FileExistsError as error:
            raise UserError(
                f"the run has kept a file {name!r} already, which is not replaced; use another name"
            ) from error
        finally:
            temporary.unlink(missing_ok=True)

    def names(self) -> list[str]:
        """See :class:`KeptFiles`."""
        left = (f"{OUTPUTS}/{name}" for name in _below(self._outputs))
        return sorted([*_below(self._files), *left])

    def path(self, name: str) -> Path:
        """See :class:`KeptFiles`."""
        place, kept = self._place(checked_name(name)), self._files / name
        if not place.exists() and kept.exists():  # the working directory is gone
            place = kept
        return place if place.exists() else _unknown(name, self.names())

    def _place(self, name: str) -> Path:
        folder, _, inside = name.partition("/")
        return self._outputs / inside if folder == OUTPUTS else self._files / name


class OfflineFiles:
    """The files of a run outside a pipeline: it says what it was given, and copies nothing."""

    def __init__(self) -> None:
        self._sources: dict[str, Path] = {}

    def keep(self, name: str, source: Path) -> None:
        """See :class:`KeptFiles`."""
        sys.stdout.write(f"Offline run, nothing is stored: file {checked_name(name)} = {source}\n")
        self._sources[name] = source

    def names(self) -> list[str]:
        """See :class:`KeptFiles`."""
        return sorted(self._sources)

    def path(self, name: str) -> Path:
        """See :class:`KeptFiles`; what lies in ``./outputs`` of the working directory counts as well."""
        if name in self._sources:
            return self._sources[name]
        place = Path(checked_name(name))
        is_left = place.parts[0] == OUTPUTS and place.exists()
        return place.absolute() if is_left else _unknown(name, self.names())


def checked_name(name: str) -> str:
    """*name* as a relative posix path without ``.`` parts; UserError when it leads out of the run's files."""
    path = PurePosixPath(name)
    text = str(path)
    if path.is_absolute() or text == "." or ".." in path.parts or "\\" in text or not text.isprintable():
        raise UserError(
            f"{name!r} cannot be the name of a kept file; use a relative path such as 'plots/roc.png', "
            "without '..' and backslashes"
        )
    return text


def files_in(folder: Path) -> Iterator[Path]:
    """The files below *folder*, sorted."""
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def _below(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in files_in(folder)]


def _unknown(name: str, names: list[str]) -> Path:
    there = ", ".join(map(repr, names)) or "none at all"
    raise UnknownNameError(f"the run has kept no file {name!r}; it has: {there}")
