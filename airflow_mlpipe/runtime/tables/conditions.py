"""Asking the rows of a batch what an expression asks."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from typing import Any

from airflow_mlpipe.errors import UserError
from airflow_mlpipe.runtime.tables.engine import arrow, compute
from airflow_mlpipe.runtime.tables.expressions import COMPARISONS, Tree
from airflow_mlpipe.runtime.tables.types import as_times

_FUNCTIONS = {
    **dict(
        zip(
            COMPARISONS, ("less", "less_equal", "equal", "not_equal", "greater_equal", "greater"), strict=True
        )
    ),
    "and": "and_kleene",
    "or": "or_kleene",
}


def answers(tree: Tree, schema: Any, column: Callable[[str], Any]) -> Any:
    """What rows answer *tree*: True, False, or null where a value is missing.

    *column* gives the values of a column of *schema*: an array, or, for a tree without times, a field of an
    Arrow expression; then the answers are one as well. Raises UserError for values that do not compare.
    """
    return _Asking(schema, column).ask(tree)


class _Asking:
    def __init__(self, schema: Any, column: Callable[[str], Any]) -> None:
        self._schema = schema
        self._column = column

    def ask(self, tree: Tree) -> Any:
        functions = compute()
        match tree:
            case ["column", name]:
                self._expect_bools(name)
                return self._column(name)
            case ["missing", ["column", name]]:
                return functions.is_null(self._column(name), nan_is_null=True)
            case ["not", inner]:
                return functions.invert(self.ask(inner))
            case ["and" | "or" as kind, left, right]:
                return getattr(functions, _FUNCTIONS[kind])(self.ask(left), self.ask(right))
            case ["in", ["column", name], list(values)]:
                return self._is_in(name, values)
            case [operator, ["column", name], right]:
                return self._compare(operator, name, right)
        raise UserError(f"{tree!r} asks for no column")

    def _compare(self, operator: str, name: str, right: Tree) -> Any:
        try:
            if right[0] == "column":
                left, other = self._column(name), self._column(right[1])
            else:
                left, other = self._like(name, right), _scalar(right)
            return getattr(compute(), _FUNCTIONS[operator])(left, other)
        except (arrow().ArrowException, OverflowError) as error:
            raise self._incomparable(name, right) from error

    def _is_in(self, name: str, values: Sequence[Tree]) -> Any:
        functions = compute()
        if not values:
            return functions.if_else(functions.is_valid(self._column(name)), False, None)
        try:
            column = self._like(name, values[0])
            among = functions.is_in(
                column, value_set=arrow().array([_scalar(value).as_py() for value in values])
            )
            return functions.if_else(functions.is_valid(column), among, None)
        except (arrow().ArrowException, OverflowError) as error:
            raise self._incomparable(name, values[0]) from error

    def _like(self, name: str, literal: Tree) -> Any:
        """The column *name*, as times if *literal* is one."""
        column = self._column(name)
        return as_times(column, name) if literal[0] == "time" else column

    def _expect_bools(self, name: str) -> None:
        if (kind := self._schema.field(name).type) != arrow().bool_():
            raise UserError(f"column {name!r} is of type {kind}, not bool; compare it with something")

    def _incomparable(self, name: str, right: Tree) -> UserError:
        other = f"column {right[1]!r}" if right[0] == "column" else repr(right[1])
        return UserError(
            f"column {name!r} is of type {self._schema.field(name).type} and does not compare with {other}"
        )


def _scalar(literal: Tree) -> Any:
    kind, value = literal
    if kind == "time":
        return arrow().scalar(datetime.datetime.fromisoformat(value), arrow().timestamp("us"))
    return arrow().scalar(value)
