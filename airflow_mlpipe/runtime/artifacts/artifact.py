"""An artifact: a folder with a value in a file, and a descriptor that says how to read it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_mlpipe.errors import DocumentError, UserError
from airflow_mlpipe.records import SCHEMA_VERSION, from_json, to_json
from airflow_mlpipe.runtime.annotations import alternatives, bare, is_pickle
from airflow_mlpipe.runtime.artifacts.pickled import PICKLE
from airflow_mlpipe.runtime.artifacts.registry import (
    WAYS_OUT,
    ArtifactFormat,
    dotted_name,
    dotted_names,
    format_for,
    format_named,
)
from airflow_mlpipe.runtime.documents import replace
from airflow_mlpipe.runtime.hints import class_of, is_path

DESCRIPTOR = ".mlpipe-artifact.json"


@dataclass(frozen=True)
class ArtifactDescriptor:
    """What lies in an artifact's folder: a *file* there, in a *format*, of a value of *type*.

    ``type`` is a dotted name: the nearest of the value's bases that the format knows.
    """

    format: str
    type: str
    file: str
    schema_version: int = SCHEMA_VERSION


def is_artifact(folder: Path) -> bool:
    """Whether *folder* holds an artifact, readable or not."""
    return (folder / DESCRIPTOR).is_file()


def write_artifact(value: Any, folder: Path, hint: Any = Any) -> ArtifactDescriptor:
    """Write *value* to the new *folder*; by pickle if *hint* says so, else in the format of its type.

    The descriptor is written last. Raises UserError for a value that no format writes.
    """
    format = PICKLE if is_pickle(hint) else format_for(value)
    if format is None:
        raise UserError(f"no artifact format writes the type {dotted_name(type(value))}; {WAYS_OUT}")
    folder.mkdir(parents=True)
    path = folder / format.file
    format.write(value, path)
    if not path.exists():
        raise UserError(f"the artifact format {format.name} did not write {format.file}")
    descriptor = ArtifactDescriptor(format.name, format.type_of(value), format.file)
    replace(folder / DESCRIPTOR, to_json(descriptor))
    return descriptor


def read_descriptor(folder: Path) -> ArtifactDescriptor:
    """The descriptor of the artifact in *folder*.

    Raises DocumentError when it cannot be read, is of another schema, or its file is not in *folder*.
    """
    try:
        text = (folder / DESCRIPTOR).read_bytes()
    except OSError as error:
        raise DocumentError(
            f"the artifact in {folder} has no {DESCRIPTOR} that can be read: {error}"
        ) from error
    descriptor = from_json(ArtifactDescriptor, text)
    file = descriptor.file
    if "/" in file or "\\" in file or "\0" in file or file in ("", ".", "..", DESCRIPTOR):
        raise DocumentError(
            f"the artifact in {folder} names the file {file!r}, which is no file in its folder"
        )
    if not (folder / file).exists():
        raise DocumentError(f"the artifact in {folder} lacks its file {file!r}")
    return descriptor


def read_artifact(folder: Path, wanted: Any = Any) -> Any:
    """The value of the artifact in *folder* as *wanted*, a type or an annotation.

    It is the path of the file when Path is wanted; for Any, what was written. Of the members of a union, the
    first that the format can read. Raises UserError when it is nothing that is wanted, or was pickled and
    *wanted* is not marked ``Pickle``; DocumentError when the artifact is damaged.
    """
    descriptor = read_descriptor(folder)
    path = folder / descriptor.file
    if is_path(wanted):
        return path
    if descriptor.format == PICKLE.name and not is_pickle(wanted):
        raise UserError(
            f"it is a pickle of type {descriptor.type}, and a pickle can run any code when it is read; "
            "annotate the parameter as Pickle[...] if its producer is to be trusted"
        )
    hints = alternatives(wanted)
    classes = [class_of(hint) for hint in hints]
    value = _read(format_named(descriptor.format), path, classes, descriptor.type)
    if any(_is_instance(value, kind) for kind in classes):
        return value
    if any(is_path(hint) for hint in hints):
        return path
    expected = " | ".join(map(_shown, hints))
    raise UserError(
        f"it is of type {dotted_name(type(value))}, an artifact of the format {descriptor.format}, and not "
        f"{expected}; change the annotation, or what the step that made it returns"
    )


def _read(format: ArtifactFormat, path: Path, classes: list[type], recorded: str) -> Any:
    """Ask for the recorded type if it is wanted, else for the first that is wanted and can be read."""
    names = [name for kind in classes for name in dotted_names(kind) if name in format.readable]
    return format.read(path, recorded if recorded in names or not names else names[0])


def _is_instance(value: object, kind: type) -> bool:
    try:
        return isinstance(value, kind)
    except TypeError:  # a protocol that cannot be checked at run time
        return True


def _shown(hint: Any) -> str:
    inner = bare(hint)
    return dotted_name(inner) if isinstance(inner, type) else str(inner)
