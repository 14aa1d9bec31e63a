"""Records that cross the boundary between a worker and a step's process.

A :class:`LaunchSpec` goes in, a :class:`StepResult` comes out. Both are JSON documents with a
``schema_version`` and a strict reader: a field that is missing, unknown or of the wrong type is a
:class:`~airflow_mlpipe.errors.DocumentError`, never a guess. Standard library only, because the
step's side of the boundary may be any image with Python 3.10.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import types
import typing
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, cast

from airflow_mlpipe.errors import DocumentError

SCHEMA_VERSION = 1

# Names the file of the LaunchSpec that a process of a step belongs to.
SPEC_VARIABLE = "MLPIPE_SPEC"
# Has the number of the descriptor by which a step's process reads its HandedCredentials.
CREDENTIALS_VARIABLE = "MLPIPE_CREDENTIALS_FD"
# Names the file from which the first process of an attempt reads its Private document, once.
PRIVATE_VARIABLE = "MLPIPE_PRIVATE"

StepStatus = Literal["succeeded", "failed", "terminated"]
InputKind = Literal["file", "tabular"]

RecordT = TypeVar("RecordT")


@dataclass(frozen=True)
class RunInfo:
    """Who the run is, as ``Run.get_context()`` tells it to the script.

    ``map_index`` is -1 for a task that is not mapped; ``run_url`` is None when nobody knows it.
    """

    id: str
    experiment: str
    dag_id: str
    dag_run_id: str
    task_id: str
    map_index: int
    try_number: int
    tags: dict[str, str] = field(default_factory=dict)
    run_url: str | None = None


@dataclass(frozen=True)
class Pin:
    """The version of a registered dataset or model that a run of a step uses."""

    kind: Literal["dataset", "model"]
    name: str
    version: int


@dataclass(frozen=True)
class InputSpec:
    """One named input as the script finds it.

    ``paths`` are absolute paths (or URLs, for direct access). A file input has exactly one. A tabular
    input lists its files, and ``definition`` says how to read them:
    ``{"format": "delimited" | "parquet", "options": {...}, "operations": [...]}``. ``pin`` is there when the
    input is a registered dataset or model.
    """

    kind: InputKind
    paths: list[str]
    definition: dict[str, Any] = field(default_factory=dict)
    pin: Pin | None = None


@dataclass(frozen=True)
class OutputSpec:
    """One declared output: where the script writes it, and whether that folder exists beforehand."""

    path: str
    create: bool


@dataclass(frozen=True)
class CallSpec:
    """A call of a Python function, which ``python -m airflow_mlpipe.runtime.call`` makes.

    ``module`` is importable in the working directory. ``parameters`` maps each parameter that is passed to
    a tree: ``{"value": json}``, ``{"input": name}`` for one of the spec's inputs, ``{"list": [tree, ...]}``,
    ``{"dict": {key: tree}}``, or ``{"missing": true}`` for a mapped task instance that handed on nothing.
    ``outputs`` are the parameters that are paths of outputs of the same name. What is returned and is not
    small JSON goes to a folder of ``artifacts_directory``. With ``unrolls``, the returned mapping, or the
    fields of what was returned, are results of their own; ``fields`` are their names as far as declared.
    """

    module: str
    function: str
    artifacts_directory: str
    parameters: dict[str, Any] = field(default_factory=dict)
    outputs: list[str] = field(default_factory=list)
    unrolls: bool = False
    fields: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class ReturnedValues:
    """What a called function returned: small JSON by name, and the names of artifacts.

    The name is ``return_value`` for a whole value, else (``unrolled``) that of a key or field. Both are empty
    when the function returned None and does not unroll.
    """

    values: dict[str, Any] = field(default_factory=dict)
    artifacts: list[str] = field(default_factory=list)
    unrolled: bool = False
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True)
class HandedCredentials:
    """The options of drivers, which hold secrets, for the data that a step reads by itself.

    ``urls`` maps the URL of a file or folder to one of ``options`` by its position. This is written to a file
    without a name only, whose descriptor the step's process inherits; CREDENTIALS_VARIABLE has its number.
    """

    urls: dict[str, int]
    options: list[dict[str, Any]] = field(repr=False)
    schema_version: int = SCHEMA_VERSION


NO_CREDENTIALS = HandedCredentials({}, [])


@dataclass(frozen=True)
class Private:
    """What the process of an attempt is given and nothing else may hold.

    ``variables`` are environment variables with secret values. A target that cannot hand this over itself
    writes it to a file for the attempt's eyes only, which PRIVATE_VARIABLE names, and its first process
    removes it.
    """

    variables: dict[str, str] = field(default_factory=dict, repr=False)
    credentials: HandedCredentials = NO_CREDENTIALS
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True)
class CarriedFile:
    """A file of an input: its *path* below the input ("" when the input is this file), and where it lies.

    ``size``, ``stamp`` (what its server called this state of it) and ``digest`` (SHA-256) are what it must
    have, None when that is not known.
    """

    path: str
    url: str
    size: int | None = None
    digest: str | None = None
    executable: bool = False
    stamp: str | None = None


@dataclass(frozen=True)
class CarriedInput:
    """A part of an input that is brought to where the step runs, to the absolute *path* there.

    Without files and empty folders it is an empty folder. ``digest`` is what the file or folder must have as
    a whole, None when its files say it, or when its content does not count. Files are read-only, or links to
    those of a mounted disk, unless ``writable``.
    """

    path: str
    files: list[CarriedFile]
    empty_folders: list[str] = field(default_factory=list)
    digest: str | None = None
    writable: bool = False


@dataclass(frozen=True)
class DataInPlace:
    """An input that is read where it lies: the file or folder *path* of a disk that is mounted there as here.

    ``digest`` is what it must have, None when its content does not count.
    """

    path: str
    digest: str | None = None


@dataclass(frozen=True)
class Carriage:
    """What an attempt fetches to a machine that does not share the worker's disk, and where it leaves things.

    ``url`` is the attempt's folder in the datastore, to which outputs, kept files and records go. ``inputs``
    are the parts of each input, and ``in_place`` inputs that are not brought. ``links`` are the paths that
    authors chose for inputs, and what lies there.
    """

    url: str
    snapshot_url: str
    snapshot_digest: str
    inputs: dict[str, list[CarriedInput]] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    in_place: dict[str, DataInPlace] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True)
class Brought:
    """A file, or an empty folder, that an attempt left in the datastore: one line of ``brought.jsonl``.

    ``place`` is the key of an output below the attempt's folder, or ``files`` for what it keeps, and ``path``
    the path inside, "" for *place* itself. ``digest`` is the SHA-256 of a file, None for an empty folder.
    """

    place: str
    path: str
    size: int = 0
    digest: str | None = None
    executable: bool = False


@dataclass(frozen=True)
class Registration:
    """What a script asks to register once its step has succeeded: one line of ``registrations.jsonl``.

    What is registered lies in the output *output*, or, with ``output`` None, among the files that are kept
    with the run; ``inside`` is the path of the file or folder there, "" for all of it.
    """

    kind: Literal["dataset", "model"]
    name: str
    output: str | None
    inside: str
    description: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    properties: dict[str, str] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True)
class EarlierRun:
    """A step that began before in the same DAG run, as ``run.parent.get_children()`` shows it.

    ``id`` is that of the attempt which made its outputs, "" when there is none. ``started_at`` is in seconds
    since the epoch.
    """

    id: str
    name: str
    map_index: int
    status: Literal["Running", "Completed", "Failed"]
    started_at: float
    metrics: dict[str, Any] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    properties: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class EarlierRuns:
    """All of them: the document ``children.json`` of an attempt that asks for it."""

    runs: list[EarlierRun]
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True)
class LaunchSpec:
    """All that is needed to run one attempt of a step, except secret values.

    ``argv`` is executed as it is, never by a shell. ``directory`` is where the attempt keeps its
    records (``log.txt``, ``metrics.jsonl``, ``heartbeat``, ``result.json``, ``files/``);
    ``working_directory`` is where the process runs. ``environment`` holds variables that may be
    written down; values that may not are handed to the process directly. ``call`` is there when the process
    calls a Python function. With ``azureml_compat`` the process finds this package's stand-in when it imports
    ``azureml``. ``carriage`` is the URL of a :class:`Carriage`, None when everything lies in place already.
    """

    attempt: str
    fingerprint: str
    argv: list[str]
    directory: str
    working_directory: str
    run: RunInfo
    inputs: dict[str, InputSpec] = field(default_factory=dict)
    outputs: dict[str, OutputSpec] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    termination_grace_seconds: float = 10.0
    call: CallSpec | None = None
    azureml_compat: bool = False
    carriage: str | None = None
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True)
class StepResult:
    """How an attempt ended. Written once, last, atomically.

    ``exit_code`` is the process's own; negative is the number of the signal that ended it, None means
    that it never started. Times are seconds since the epoch. ``last_lines`` are the last lines of the
    log, oldest first, for the error message. ``out_of_memory`` says that the kernel ended a process of the
    step because a memory limit was reached.
    """

    attempt: str
    status: StepStatus
    exit_code: int | None
    started_at: float
    finished_at: float
    message: str = ""
    last_lines: list[str] = field(default_factory=list)
    out_of_memory: bool = False
    schema_version: int = SCHEMA_VERSION


def to_json(record: Any) -> str:
    """The record as one JSON document, keys sorted, ending in a line feed."""
    return json.dumps(dataclasses.asdict(record), sort_keys=True, indent=2) + "\n"


def from_json(kind: type[RecordT], text: str | bytes) -> RecordT:
    """Read one record of *kind*; DocumentError says what is wrong with any other text."""
    try:
        document = json.loads(text)
    except ValueError as error:
        raise DocumentError(f"{kind.__name__} is not JSON: {error}") from error
    return cast("RecordT", _read(kind, document, kind.__name__))


def _read(kind: Any, value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        return _read_record(kind, value, where)
    if origin is Literal:
        if value in arguments:
            return value
        raise DocumentError(f"{where} is {value!r}; expected one of {', '.join(map(repr, arguments))}")
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        return _read(next(a for a in arguments if a is not type(None)), value, where)
    if origin is list and isinstance(value, list):
        return [_read(arguments[0], item, f"{where}[{index}]") for index, item in enumerate(value)]
    if origin is dict and isinstance(value, dict):
        return {key: _read(arguments[1], item, f"{where}[{key!r}]") for key, item in value.items()}
    if kind is Any:
        return value
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if origin is None and type(value) is kind:
        return value
    expected = getattr(origin or kind, "__name__", str(kind))
    raise DocumentError(f"{where} is {value!r}; expected {expected}")


def _read_record(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise DocumentError(f"{where} is {value!r}; expected an object")
    fields, required = _fields(kind)
    version = value.get("schema_version", SCHEMA_VERSION if "schema_version" not in fields else None)
    if version != SCHEMA_VERSION:
        raise DocumentError(
            f"{where} has schema_version {version!r}; this version of airflow_mlpipe reads {SCHEMA_VERSION}"
        )
    if unknown := sorted(value.keys() - fields.keys()):
        raise DocumentError(f"{where} has unknown fields: {', '.join(unknown)}")
    if missing := sorted(required - value.keys()):
        raise DocumentError(f"{where} lacks fields: {', '.join(missing)}")
    return kind(**{name: _read(fields[name], item, f"{where}.{name}") for name, item in value.items()})


@functools.cache
def _fields(kind: Any) -> tuple[dict[str, Any], frozenset[str]]:
    """The types of the fields of a record, and the names of those that it must have."""
    required = (
        item.name
        for item in dataclasses.fields(kind)
        if item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
    )
    return typing.get_type_hints(kind), frozenset(required)
