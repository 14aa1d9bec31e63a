"""``TabularDataset``: files that the script reads as one table, with pandas when it asks for it."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_mlpipe.errors import DocumentError, UserError

if TYPE_CHECKING:
    import pandas as pd


class TabularDataset:
    """A table that is not read until :meth:`to_pandas_dataframe`.

    *definition* is ``{"format", "options", "operations"}``. The format is ``delimited`` (options
    ``separator`` ",", ``header`` True, ``encoding`` "utf8", ``include_path`` False, which adds a first
    column ``Path``) or ``parquet``. Operations are applied in order, each one of
    ``{"keep_columns": [...]}``, ``{"drop_columns": [...]}``, ``{"take": count}`` and
    ``{"random_split": {"percentage", "seed", "part"}}``. Several files are one below the other.

    Raises DocumentError for a definition of another shape.
    """

    def __init__(self, paths: Sequence[str], definition: Mapping[str, Any], name: str = "") -> None:
        self.name = name
        self._paths = list(paths)
        self._format = str(definition.get("format"))
        self._options = dict(definition.get("options", {}))
        self._operations = list(definition.get("operations", []))
        if self._format not in _READERS:
            known = ", ".join(_READERS)
            raise DocumentError(f"tabular input {name!r} has the format {self._format!r}; known are {known}")
        for operation in self._operations:
            if (
                not isinstance(operation, dict)
                or len(operation) != 1
                or not operation.keys() <= _APPLIERS.keys()
            ):
                known = ", ".join(_APPLIERS)
                raise DocumentError(
                    f"tabular input {name!r} has the operation {operation!r}; known are {known}"
                )

    @property
    def id(self) -> str:
        """The digest of the paths and the definition: the same question has the same id."""
        question = [self._paths, self._format, self._options, self._operations]
        return hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()

    def keep_columns(self, columns: Sequence[str] | str) -> TabularDataset:
        """The table with only these columns, in this order."""
        return self._then(keep_columns=_names(columns))

    def drop_columns(self, columns: Sequence[str] | str) -> TabularDataset:
        """The table without these columns."""
        return self._then(drop_columns=_names(columns))

    def take(self, count: int) -> TabularDataset:
        """The first *count* rows."""
        return self._then(take=count)

    def random_split(
        self, percentage: float, seed: int | None = None
    ) -> tuple[TabularDataset, TabularDataset]:
        """Two tables that share no row, the first with about *percentage* (0 to 1) of them.

        The split is the same each time; another *seed* (default 0) makes another one.
        """
        if not 0 <= percentage <= 1:
            raise ValueError(f"random_split percentage is {percentage!r}; it must lie between 0 and 1")
        split = {"percentage": float(percentage), "seed": 0 if seed is None else seed}
        return self._then(random_split={**split, "part": 0}), self._then(random_split={**split, "part": 1})

    def to_pandas_dataframe(self) -> pd.DataFrame:
        """Read the files and apply the operations.

        Raises UserError when pandas (or its Parquet engine) is not installed, or a column does not exist.
        """
        pandas = _import_pandas()
        read = _READERS[self._format]
        tables = [read(pandas, path, self._options) for path in self._paths]
        table = pandas.concat(tables, ignore_index=True) if tables else pandas.DataFrame()
        for operation in self._operations:
            ((verb, argument),) = operation.items()
            table = _APPLIERS[verb](table, argument)
        return table

    def _then(self, **operation: Any) -> TabularDataset:
        definition = {
            "format": self._format,
            "options": self._options,
            "operations": [*self._operations, operation],
        }
        return TabularDataset(self._paths, definition, name=self.name)

    def __repr__(self) -> str:
        return (
            f"TabularDataset(name={self.name!r}, files={len(self._paths)}, operations={self._operations!r})"
        )


def _import_pandas() -> Any:
    try:
        import pandas
    except ImportError as error:
        raise UserError(
            "a tabular input is read with pandas, which this interpreter lacks; "
            "add 'pandas' to the pip_packages of the step's Environment"
        ) from error
    return pandas


def _read_delimited(pandas: Any, path: str, options: Mapping[str, Any]) -> pd.DataFrame:
    has_header = options.get("header", True)
    table: pd.DataFrame = pandas.read_csv(
        path,
        sep=options.get("separator", ","),
        header=0 if has_header else None,
        encoding=options.get("encoding", "utf8"),
    )
    if not has_header:
        table.columns = [f"Column{number}" for number in range(1, len(table.columns) + 1)]
    if options.get("include_path", False):
        table.insert(0, "Path", path)
    return table


def _read_parquet(pandas: Any, path: str, options: Mapping[str, Any]) -> pd.DataFrame:
    try:
        table: pd.DataFrame = pandas.read_parquet(path)
    except ImportError as error:
        raise UserError(
            "a Parquet input is read with pyarrow, which this interpreter lacks; "
            "add 'pyarrow' to the pip_packages of the step's Environment"
        ) from error
    return table


def _keep(table: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    return table[_existing(table, columns)]


def _drop(table: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    return table.drop(columns=_existing(table, columns))


def _take(table: pd.DataFrame, count: int) -> pd.DataFrame:
    return table.head(count)


def _part(table: pd.DataFrame, split: dict[str, Any]) -> pd.DataFrame:
    # random.random() gives the same sequence in every version of Python, unlike numpy's generators.
    draw = random.Random(split["seed"]).random  # noqa: S311
    mask = [(draw() < split["percentage"]) == (split["part"] == 0) for _ in range(len(table))]
    return table[mask].reset_index(drop=True)


def _existing(table: pd.DataFrame, columns: list[str]) -> list[str]:
    if missing := [column for column in columns if column not in table.columns]:
        raise UserError(
            f"the table has no column {missing[0]!r}; it has: {', '.join(map(str, table.columns))}"
        )
    return columns


def _names(columns: Sequence[str] | str) -> list[str]:
    return [columns] if isinstance(columns, str) else list(columns)


_READERS: dict[str, Callable[[Any, str, Mapping[str, Any]], Any]] = {
    "delimited": _read_delimited,
    "parquet": _read_parquet,
}
_APPLIERS: dict[str, Callable[[Any, Any], Any]] = {
    "keep_columns": _keep,
    "drop_columns": _drop,
    "take": _take,
    "random_split": _part,
}
