"""Questions about the rows of a table, written with operators and kept as JSON.

A *tree* is a list whose first item says what it is::

    ["column", name]                              what the row has in the column
    ["value", true | 2 | 0.5 | "text"]            a value of JSON
    ["time", "2026-01-31T00:00:00"]               a time without a zone; one with a zone was turned to UTC
    ["<" | "<=" | "==" | "!=" | ">=" | ">", tree, tree]
    ["in", tree, [value tree, ...]]   ["missing", tree]
    ["and", tree, tree]   ["or", tree, tree]   ["not", tree]
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, NoReturn

from airflow_mlpipe.errors import DefinitionError, DocumentError

Tree = list[Any]

COMPARISONS = ("<", "<=", "==", "!=", ">=", ">")
_TREES_INSIDE = {**dict.fromkeys(COMPARISONS, 2), "missing": 1, "and": 2, "or": 2, "not": 1, "in": 1}


class Expression:
    """A question that each row answers with yes or no; ``&``, ``|`` and ``~`` combine several.

    A row without the value that is asked for answers neither, and is left out by ``filter``, as in SQL.
    """

    def __init__(self, tree: Tree) -> None:
        self.tree = tree

    def __and__(self, other: object) -> Expression:
        return Expression(["and", self.tree, _asked(other)])

    def __or__(self, other: object) -> Expression:
        return Expression(["or", self.tree, _asked(other)])

    def __rand__(self, other: object) -> Expression:
        return Expression(["and", _asked(other), self.tree])

    def __ror__(self, other: object) -> Expression:
        return Expression(["or", _asked(other), self.tree])

    def __invert__(self) -> Expression:
        return Expression(["not", self.tree])

    def __bool__(self) -> NoReturn:
        raise DefinitionError(
            "a condition on rows has no truth value of its own; combine conditions with &, | and ~, in "
            "parentheses: (flowers['a'] > 1) & (flowers['b'] < 2)"
        )

    def __repr__(self) -> str:
        return f"Expression({self.tree!r})"


class Column(Expression):
    """A column of a table, to compare with values, times and other columns. One of bools is a question."""

    __hash__: ClassVar[None]  # type: ignore[assignment]

    def __init__(self, name: str) -> None:
        if not isinstance(name, str):
            raise DefinitionError(f"a column is named by a text, not by {name!r}")
        super().__init__(["column", name])

    def __eq__(self, other: object) -> Expression:  # type: ignore[override]
        return self._compare("==", other)

    def __ne__(self, other: object) -> Expression:  # type: ignore[override]
        return self._compare("!=", other)

    def __lt__(self, other: object) -> Expression:
        return self._compare("<", other)

    def __le__(self, other: object) -> Expression:
        return self._compare("<=", other)

    def __gt__(self, other: object) -> Expression:
        return self._compare(">", other)

    def __ge__(self, other: object) -> Expression:
        return self._compare(">=", other)

    def isin(self, values: Iterable[object]) -> Expression:
        """Whether the value is one of *values*."""
        if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
            raise DefinitionError(f"isin takes a list of values, not {values!r}")
        return Expression(["in", self.tree, [_literal(value) for value in values]])

    def between(self, low: object, high: object) -> Expression:
        """Whether the value lies between *low* and *high*, both included."""
        return (self >= low) & (self <= high)

    def is_null(self) -> Expression:
        """Whether there is no value."""
        return Expression(["missing", self.tree])

    def is_not_null(self) -> Expression:
        """Whether there is a value."""
        return ~self.is_null()

    def _compare(self, operator: str, other: object) -> Expression:
        right = other.tree if isinstance(other, Column) else _literal(other)
        return Expression([operator, self.tree, right])


def columns_in(tree: Tree) -> Iterator[str]:
    """The names of the columns that *tree* asks for."""
    if tree[0] == "column":
        yield tree[1]
    for inner in tree[1 : 1 + _TREES_INSIDE.get(tree[0], 0)]:
        yield from columns_in(inner)


def asks_for_times(tree: Tree) -> bool:
    """Whether *tree* compares with a time."""
    return tree[0] == "time" or any(
        asks_for_times(inner) for inner in tree if isinstance(inner, list) and inner
    )


def checked_tree(tree: Any) -> Tree:
    """*tree* when it is one; DocumentError otherwise."""
    if not isinstance(tree, list) or not _is_tree(tree):
        raise DocumentError(f"{tree!r} is no condition that this version of airflow_mlpipe knows")
    return tree


def _is_tree(tree: Any) -> bool:
    match tree:
        case ["column" | "time", str()] | ["value", bool() | int() | float() | str()]:
            return True
        case ["in", inner, list(values)]:
            return _is_tree(inner) and all(map(_is_tree, values))
        case [str(kind), *inside]:
            return _TREES_INSIDE.get(kind) == len(inside) and all(map(_is_tree, inside))
    return False


def time_text(value: datetime.date) -> str:
    """*value* as ISO 8601 without a zone; of one with a zone, its time in UTC."""
    if not isinstance(value, datetime.datetime):
        value = datetime.datetime(value.year, value.month, value.day)
    elif value.tzinfo is not None:
        value = value.astimezone(datetime.timezone.utc).replace(tzinfo=None)
    return value.isoformat()


def _literal(value: object) -> Tree:
    if isinstance(value, datetime.date):
        return ["time", time_text(value)]
    if value is None:
        raise DefinitionError("nothing compares to None; ask is_null() or is_not_null()")
    if type(value) in (bool, int, str) or (type(value) is float and math.isfinite(value)):
        return ["value", value]
    raise DefinitionError(
        f"a column compares to a text, a finite number, a bool, a date or a time, not to {value!r} of type "
        f"{type(value).__name__}"
    )


def _asked(other: object) -> Tree:
    if not isinstance(other, Expression):
        raise DefinitionError(
            f"a condition combines with another condition, not with {other!r}; put comparisons in "
            "parentheses: (flowers['a'] > 1) & (flowers['b'] < 2)"
        )
    return other.tree
