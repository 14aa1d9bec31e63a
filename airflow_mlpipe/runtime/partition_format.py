"""Partition formats: what the folders and names on the way to a file say about what is in it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from airflow_mlpipe.errors import DefinitionError

ColumnKind = Literal["text", "time"]

_COLUMN = re.compile(r"\{([^{}]*)\}")
_CLOCK = re.compile(r"yyyy|MM|dd|HH|mm|ss")
_FIELDS = {"yyyy": "year", "MM": "month", "dd": "day", "HH": "hour", "mm": "minute", "ss": "second"}


@dataclass(frozen=True)
class PartitionFormat:
    """A pattern for the last parts of a path, such as ``{country}/{date:yyyy/MM/dd}/data.csv``.

    ``{country}`` is a column of texts: one name of the path, or the part of a name between what stands around
    it. ``{date:yyyy/MM/dd}`` is a column of times; ``HH``, ``mm`` and ``ss`` are known as well. ``*`` is any
    part of one name. Everything else stands for itself. ``columns`` are in the order of the text.
    """

    text: str
    columns: dict[str, ColumnKind]
    _pattern: re.Pattern[str]
    _times: dict[str, tuple[str, ...]]

    @classmethod
    def parse(cls, text: object) -> PartitionFormat:
        """Read a format; DefinitionError says what is wrong with it."""
        if not isinstance(text, str) or not text.strip("/"):
            raise _wrong(text, "it is a text such as '{country}/{date:yyyy/MM/dd}/data.csv'")
        bare = text.lstrip("/")
        if "{" in (rest := _COLUMN.sub("", bare)) or "}" in rest:
            raise _wrong(text, "its braces do not pair")
        if "}{" in bare:
            raise _wrong(text, "two columns follow each other with nothing between them")
        return _Parser(text).parsed(bare)

    def values(self, path: str) -> dict[str, str | datetime] | None:
        """What *path* says, by column; None when it does not end as the format says.

        *path* is posix, absolute or relative, or a URL. A date that there is not is no match.
        """
        match = self._pattern.search(path)
        if match is None:
            return None
        found: dict[str, str | datetime] = {}
        for number, (name, kind) in enumerate(self.columns.items()):
            if kind == "text":
                found[name] = match[f"c{number}"]
                continue
            fields = {field: int(match[f"c{number}_{field}"]) for field in self._times[name]}
            try:
                found[name] = datetime(**{"month": 1, "day": 1, **fields})  # type: ignore[arg-type]
            except ValueError:
                return None
        return found


class _Parser:
    """Makes a regular expression of a format, column by column."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._columns: dict[str, ColumnKind] = {}
        self._times: dict[str, tuple[str, ...]] = {}

    def parsed(self, bare: str) -> PartitionFormat:
        pattern = "".join(self._parts(bare))
        if not self._columns:
            raise _wrong(self._text, "it names no column; put the parts that differ in braces")
        # Not "$", which also matches before a line feed: a name may end in one.
        compiled = re.compile(rf"(?:^|/){pattern}\Z")
        return PartitionFormat(self._text, self._columns, compiled, self._times)

    def _parts(self, bare: str) -> Iterator[str]:
        end = 0
        for match in _COLUMN.finditer(bare):
            yield _literal(bare[end : match.start()])
            yield self._column(match[1])
            end = match.end()
        yield _literal(bare[end:])

    def _column(self, inside: str) -> str:
        name, colon, clock = inside.partition(":")
        if not name.strip():
            raise _wrong(self._text, "a column has no name")
        if name in self._columns:
            raise _wrong(self._text, f"the column {name!r} is there twice")
        number = len(self._columns)
        self._columns[name] = "time" if colon else "text"
        if not colon:
            return rf"(?P<c{number}>[^/]+?)"
        fields = tuple(_FIELDS[field] for field in _CLOCK.findall(clock))
        strange = re.search(r"[A-Za-z*]", _CLOCK.sub("", clock))
        if strange or len(set(fields)) < len(fields) or "year" not in fields:
            raise _wrong(
                self._text,
                f"the time of {name!r} is {clock!r}; write yyyy, and MM, dd, HH, mm and ss as far as they "
                "are there, each once",
            )
        self._times[name] = fields
        return _spelled(clock, _CLOCK, lambda field: _digits(number, field))


def _digits(number: int, field: str) -> str:
    return rf"(?P<c{number}_{_FIELDS[field]}>[0-9]{{{len(field)}}})"


def _literal(text: str) -> str:
    return _spelled(text, re.compile(r"\*+"), lambda _: "[^/]*?")


def _spelled(text: str, special: re.Pattern[str], become: Callable[[str], str]) -> str:
    """*text* as a regular expression for itself, but for the *special* parts, which *become* another."""
    parts: list[str] = []
    end = 0
    for match in special.finditer(text):
        parts += re.escape(text[end : match.start()]), become(match[0])
        end = match.end()
    return "".join([*parts, re.escape(text[end:])])


def _wrong(text: object, problem: str) -> DefinitionError:
    return DefinitionError(f"partition_format {text!r} cannot be used: {problem}")
