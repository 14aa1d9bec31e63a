"""How the files of a table are to be read: one class of options for each format.

They are checked when they are written, with a DefinitionError. Kept as JSON, options that are as they are
without a word are left out.
"""

from __future__ import annotations

import codecs
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, TypeVar

from airflow_mlpipe.errors import DefinitionError, DocumentError

Header = bool | Literal["first_file"]
OptionsT = TypeVar("OptionsT", bound="TableOptions")

# The texts that pandas takes for a missing value, as it does when nothing else is said.
MISSING = (
    *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>"),
    *("N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
)

# SDK v1's names of encodings, as far as Python has others.
_ENCODINGS = {
    "utf8bom": "utf-8-sig",
    "iso88591": "iso-8859-1",
    "windows1252": "cp1252",
    "utf16": "utf-16",
    "utf32": "utf-32",
}

# SDK v1's PromoteHeadersBehavior.
_V1_HEADERS: dict[object, Header] = {
    "NO_HEADERS": False,
    "ONLY_FIRST_FILE_HAS_HEADERS": "first_file",
    "COMBINE_ALL_FILES_HEADERS": True,
    "ALL_FILES_HAVE_SAME_HEADERS": True,
}

COLUMN_TYPES = ("int", "float", "str", "bool", "datetime")


@dataclass(frozen=True)
class TableOptions:
    """What every format understands.

    With ``include_path``, a first column ``Path`` has the path of each row's file in the folder that the step
    is shown, as ``/2026/01/a.csv``. ``partition_format`` names columns that such paths have; they come next.
    """

    include_path: bool = False
    partition_format: str | None = None

    def __post_init__(self) -> None:
        if self.partition_format is not None:
            # Few tables have one, and DAG files are parsed again and again.
            from airflow_mlpipe.runtime.partition_format import PartitionFormat

            PartitionFormat.parse(self.partition_format)

    def as_json(self) -> dict[str, Any]:
        """The options that are not as they are without a word."""
        return {
            item.name: _plain(getattr(self, item.name))
            for item in dataclasses.fields(self)
            if getattr(self, item.name) != _default(item)
        }

    @classmethod
    def from_json(cls: type[OptionsT], options: Any) -> OptionsT:
        """Read what :meth:`as_json` wrote; DocumentError for anything else."""
        known = {item.name for item in dataclasses.fields(cls)}
        if not isinstance(options, dict) or not options.keys() <= known:
            raise DocumentError(f"a table has the options {options!r}; known are {', '.join(sorted(known))}")
        try:
            return cls(**options)
        except (TypeError, ValueError, AttributeError) as error:
            raise DocumentError(f"a table has the options {options!r}, which cannot be: {error}") from error


@dataclass(frozen=True)
class ParquetOptions(TableOptions):
    """Parquet says everything else itself."""


@dataclass(frozen=True)
class JsonLinesOptions(TableOptions):
    """One JSON object a line, in *encoding*."""

    encoding: str = "utf8"

    def __post_init__(self) -> None:
        super().__post_init__()
        codec(self.encoding)


@dataclass(frozen=True)
class DelimitedOptions(TableOptions):
    """Delimited text.

    - ``header``: True when the first line of each file names the columns, False when none does, "first_file"
      when only that of the first file does;
    - ``column_types`` by column: ``int``, ``float``, ``str``, ``bool``, ``datetime`` (ISO 8601) or
      ``datetime:FORMAT`` with a format of ``strptime``;
    - ``infer_column_types``: whether the values say what the other columns are; else they are texts;
    - ``null_values``: the texts that mean a missing value.
    """

    separator: str = ","
    header: Header = True
    encoding: str = "utf8"
    infer_column_types: bool = True
    column_types: Mapping[str, str] = field(default_factory=dict)
    null_values: Sequence[str] = MISSING

    _HEADERS: ClassVar = (True, False, "first_file")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.separator, str) or len(self.separator) != 1 or self.separator in '"\r\n':
            raise DefinitionError(
                f"separator is {self.separator!r}; it is one character, no quotation mark and no line break"
            )
        if not self.separator.isascii():
            raise DefinitionError(f"separator is {self.separator!r}; it must be an ASCII character")
        if not any(self.header is header or self.header == header != 1 for header in self._HEADERS):
            raise DefinitionError(f"header is {self.header!r}; it is True, False or 'first_file'")
        codec(self.encoding)
        for column, kind in self.column_types.items():
            _check_column_type(column, kind)
        if isinstance(self.null_values, str) or not all(isinstance(text, str) for text in self.null_values):
            raise DefinitionError(f"null_values is {self.null_values!r}; it is a list of texts")
        object.__setattr__(self, "null_values", tuple(self.null_values))


def codec(encoding: object) -> str:
    """Python's name of *encoding*; DefinitionError when there is no such encoding of texts."""
    try:
        found = codecs.lookup(_ENCODINGS.get(encoding, encoding))  # type: ignore[call-overload]
        if "".encode(found.name) is not None:
            return found.name
    except (LookupError, TypeError):
        pass
    raise DefinitionError(
        f"encoding {encoding!r} is not known; use utf8, latin1, windows1252, utf16 or alike"
    )


def as_header(header: Any) -> Any:
    """*header* as options have it, also of a member of SDK v1's PromoteHeadersBehavior, or its name."""
    return _V1_HEADERS.get(getattr(header, "name", header), header)


def _check_column_type(column: object, kind: object) -> None:
    if not isinstance(column, str):
        raise DefinitionError(f"a column is named by a text, not by {column!r}")
    if not isinstance(kind, str) or (kind not in COLUMN_TYPES and not kind.startswith("datetime:")):
        raise DefinitionError(
            f"column {column!r} is given the type {kind!r}; known are {', '.join(COLUMN_TYPES)} and "
            "'datetime:FORMAT', as in 'datetime:%d.%m.%Y'"
        )


def _default(item: dataclasses.Field[Any]) -> Any:
    return item.default if item.default_factory is dataclasses.MISSING else item.default_factory()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    return list(value) if isinstance(value, tuple) else value
