"""What is done to the rows of a table: the same words while a DAG is written and in the script.

An operation is one JSON object ``{verb: argument}``; they are applied in order, when the table is read.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from airflow_mlpipe.errors import DefinitionError, DocumentError
from airflow_mlpipe.runtime.tables.expressions import Column, Expression, checked_tree

Operation = dict[str, Any]
TableT = TypeVar("TableT", bound="TableOperations")


class TableOperations:
    """A table that takes operations. Each returns another table, and leaves this one as it is.

    Raises DefinitionError, which is a ValueError, for an argument that cannot be right whatever the table
    holds. Columns are looked for when the table is read.
    """

    def operations_so_far(self) -> Sequence[Operation]:
        """The operations of this table, first to last."""
        raise NotImplementedError

    def _then(self: TableT, **operation: Any) -> TableT:
        """This table with one more operation."""
        raise NotImplementedError

    def __getitem__(self, column: str) -> Column:
        """The column of that name, to be compared in a condition: ``flowers["petal_length"] > 2``."""
        return Column(column)

    def keep_columns(self: TableT, columns: Sequence[str] | str) -> TableT:
        """The table with only these columns, in this order."""
        return self._then(keep_columns=_names(columns))

    def drop_columns(self: TableT, columns: Sequence[str] | str) -> TableT:
        """The table without these columns."""
        return self._then(drop_columns=_names(columns))

    def filter(self: TableT, condition: Expression) -> TableT:
        """The rows that answer *condition* with yes."""
        if not isinstance(condition, Expression):
            raise DefinitionError(
                f"filter takes a condition such as flowers['petal_length'] > 2, not {condition!r}"
            )
        return self._then(filter=condition.tree)

    def take(self: TableT, count: int) -> TableT:
        """The first *count* rows."""
        return self._then(take=_count("take", count))

    def skip(self: TableT, count: int) -> TableT:
        """The rows after the first *count*."""
        return self._then(skip=_count("skip", count))

    def take_sample(self: TableT, probability: float, seed: int | None = None) -> TableT:
        """Each row with *probability* (0 to 1); the same rows each time for the same *seed* (default 0)."""
        sample = {"probability": _share("take_sample probability", probability), "seed": _seed(seed)}
        return self._then(take_sample=sample)

    def random_split(self: TableT, percentage: float, seed: int | None = None) -> tuple[TableT, TableT]:
        """Two tables that share no row and lose none, the first with about *percentage* (0 to 1) of them.

        The split is the same each time; another *seed* (default 0) makes another one.
        """
        split = {"percentage": _share("random_split percentage", percentage), "seed": _seed(seed)}
        return self._then(random_split={**split, "part": 0}), self._then(random_split={**split, "part": 1})

    def with_timestamp_columns(self: TableT, timestamp: str) -> TableT:
        """The table with the column *timestamp* as times, which ``time_before`` and its kin ask for.

        Texts are read as ISO 8601. A time with a zone becomes the time in UTC.
        """
        return self._then(timestamp=Column(timestamp).tree[1])

    def time_before(self: TableT, end_time: datetime.date, include_boundary: bool = True) -> TableT:
        """The rows up to *end_time*, of ``with_timestamp_columns``."""
        column = self._timestamp("time_before", end_time)
        return self.filter(column <= end_time if include_boundary else column < end_time)

    def time_after(self: TableT, start_time: datetime.date, include_boundary: bool = True) -> TableT:
        """The rows from *start_time* on, of ``with_timestamp_columns``."""
        column = self._timestamp("time_after", start_time)
        return self.filter(column >= start_time if include_boundary else column > start_time)

    def time_between(
        self: TableT, start_time: datetime.date, end_time: datetime.date, include_boundary: bool = True
    ) -> TableT:
        """The rows from *start_time* up to *end_time*, of ``with_timestamp_columns``."""
        return self.time_after(start_time, include_boundary).time_before(end_time, include_boundary)

    def _timestamp(self, verb: str, time: object) -> Column:
        if not isinstance(time, datetime.date):
            raise DefinitionError(f"{verb} takes a date or a time, not {time!r}")
        marked = [
            operation["timestamp"] for operation in self.operations_so_far() if "timestamp" in operation
        ]
        if not marked:
            raise DefinitionError(
                f"{verb} needs to know the column: call with_timestamp_columns('...') first"
            )
        return Column(marked[-1])


def checked_operations(operations: Any) -> list[Operation]:
    """*operations* when they are a list of known ones, else DocumentError with the one that is not."""
    if not isinstance(operations, Sequence) or isinstance(operations, str):
        raise DocumentError(f"the operations of a table are a list, not {operations!r}")
    return [_checked(operation) for operation in operations]


def _checked(operation: Any) -> Operation:
    if not isinstance(operation, dict) or len(operation) != 1 or not operation.keys() <= _ARGUMENTS.keys():
        raise DocumentError(f"a table has the operation {operation!r}; known are {', '.join(_ARGUMENTS)}")
    ((verb, argument),) = operation.items()
    try:
        _ARGUMENTS[verb](argument)
    except (KeyError, TypeError, ValueError, DocumentError) as error:
        raise DocumentError(f"a table has the operation {operation!r}, which cannot be: {error}") from error
    return operation


def _names(columns: Sequence[str] | str) -> list[str]:
    names = [columns] if isinstance(columns, str) else list(columns)
    if wrong := [name for name in names if not isinstance(name, str)]:
        raise DefinitionError(f"columns are named by texts, not by {wrong[0]!r}")
    if twice := [name for name in names if names.count(name) > 1]:
        raise DefinitionError(f"column {twice[0]!r} is named twice")
    return names


def _count(verb: str, count: object) -> int:
    if type(count) is not int or count < 0:
        raise DefinitionError(f"{verb} takes a number of rows from 0 on, not {count!r}")
    return count


def _share(what: str, share: object) -> float:
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 <= share <= 1:
        raise DefinitionError(f"{what} is {share!r}; it must lie between 0 and 1")
    return float(share)


def _seed(seed: object) -> int:
    if seed is None:
        return 0
    if type(seed) is not int:
        raise DefinitionError(f"seed is {seed!r}; it must be a whole number")
    return seed


def _sample(argument: Mapping[str, Any], share: str) -> None:
    _share(share, argument[share])
    _seed(argument["seed"])


def _split(argument: Mapping[str, Any]) -> None:
    _sample(argument, "percentage")
    if argument["part"] not in (0, 1):
        raise ValueError(f"part is {argument['part']!r}; it is 0 or 1")


_ARGUMENTS: dict[str, Callable[[Any], object]] = {
    "keep_columns": _names,
    "drop_columns": _names,
    "filter": checked_tree,
    "take": lambda count: _count("take", count),
    "skip": lambda count: _count("skip", count),
    "take_sample": lambda sample: _sample(sample, "probability"),
    "random_split": _split,
    "timestamp": Column,
}
