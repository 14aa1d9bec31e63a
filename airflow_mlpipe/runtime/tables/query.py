"""Operations at work on the rows of a source, batch by batch."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from airflow_mlpipe.errors import UserError
from airflow_mlpipe.runtime.tables.conditions import answers
from airflow_mlpipe.runtime.tables.engine import arrow
from airflow_mlpipe.runtime.tables.expressions import Tree, columns_in
from airflow_mlpipe.runtime.tables.operations import Operation
from airflow_mlpipe.runtime.tables.source import TableSource
from airflow_mlpipe.runtime.tables.types import as_times

Batches = Iterator[Any]


class Query:
    """The rows of *source* after *operations*. Nothing but columns that are needed is read.

    Raises UserError for a column that the table has not got at that point, with those that it has.
    """

    def __init__(self, source: TableSource, operations: Sequence[Operation]) -> None:
        self._source = source
        self._operations = operations
        self.columns = _columns_after(source.columns(), operations)
        read = {*self.columns, *(name for operation in operations for name in _asked_for(operation))}
        self._read = source.schema([column for column in source.columns() if column in read])

    @property
    def schema(self) -> Any:
        """The Arrow schema of the result."""
        times = {operation["timestamp"] for operation in self._operations if "timestamp" in operation}
        pyarrow = arrow()
        return pyarrow.schema(
            (column, pyarrow.timestamp("us")) if column in times else self._read.field(column)
            for column in self.columns
        )

    def batches(self) -> Batches:
        """The rows in their order. It may be asked again, and gives the same."""
        batches = self._source.batches(self._read, _first_filters(self._operations))
        for operation in self._operations:
            ((verb, argument),) = operation.items()
            if verb in _STEPS:
                batches = _STEPS[verb](batches, argument)
        return (batch.select(self.columns) for batch in batches)


def _columns_after(columns: list[str], operations: Sequence[Operation]) -> list[str]:
    """The columns that are left, when all that are asked for are there."""
    for operation in operations:
        if missing := [name for name in _asked_for(operation) if name not in columns]:
            raise UserError(f"the table has no column {missing[0]!r}; it has: {', '.join(columns)}")
        if "keep_columns" in operation:
            columns = _names(operation["keep_columns"])
        elif "drop_columns" in operation:
            columns = [name for name in columns if name not in _names(operation["drop_columns"])]
    return columns


def _asked_for(operation: Operation) -> list[str]:
    ((verb, argument),) = operation.items()
    if verb in ("keep_columns", "drop_columns"):
        return _names(argument)
    if verb == "filter":
        return list(columns_in(argument))
    return [argument] if verb == "timestamp" else []


def _names(argument: str | list[str]) -> list[str]:
    return [argument] if isinstance(argument, str) else argument


def _first_filters(operations: Sequence[Operation]) -> Tree | None:
    """What every row of the result answers with yes whatever its number: the filters before all else."""
    trees: list[Tree] = []
    for operation in operations:
        if "filter" in operation:
            trees.append(operation["filter"])
        elif not operation.keys() & {"keep_columns", "drop_columns"}:
            break
    return functools.reduce(lambda left, right: ["and", left, right], trees) if trees else None


def _filter(batches: Batches, tree: Tree) -> Batches:
    for batch in batches:
        yield batch.filter(answers(tree, batch.schema, batch.column))


def _take(batches: Batches, count: int) -> Batches:
    if count == 0:
        return
    for batch in batches:
        yield batch.slice(0, count)
        count -= batch.num_rows
        if count <= 0:
            return


def _skip(batches: Batches, count: int) -> Batches:
    for batch in batches:
        passed = min(count, batch.num_rows)
        count -= passed
        yield batch.slice(passed)


def _take_sample(batches: Batches, sample: dict[str, Any]) -> Batches:
    return _drawn(batches, sample["seed"], sample["probability"], below=True)


def _random_split(batches: Batches, split: dict[str, Any]) -> Batches:
    return _drawn(batches, split["seed"], split["percentage"], below=split["part"] == 0)


def _drawn(batches: Batches, seed: int, share: float, *, below: bool) -> Batches:
    """The rows whose draw is *below* the *share*, or those whose is not: the n-th row has the n-th draw."""
    # Python promises that random() gives the same sequence in all of its versions; numpy's generators do not.
    draw = random.Random(seed).random  # noqa: S311
    for batch in batches:
        mask = [(draw() < share) is below for _ in range(batch.num_rows)]
        yield batch.filter(arrow().array(mask, arrow().bool_()))


def _timestamp(batches: Batches, column: str) -> Batches:
    for batch in batches:
        times = as_times(batch.column(column), column)
        yield batch.set_column(batch.schema.get_field_index(column), column, times)


# Columns are kept and dropped by what is read and handed on.
_STEPS: dict[str, Callable[[Batches, Any], Batches]] = {
    "filter": _filter,
    "take": _take,
    "skip": _skip,
    "take_sample": _take_sample,
    "random_split": _random_split,
    "timestamp": _timestamp,
}
