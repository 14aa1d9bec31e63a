"""``QueryDataset``: the rows of a database query as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Literal

from pydantic import field_validator

from airflow_mlpipe.errors import DefinitionError
from airflow_mlpipe.model.datastore import Datastore
from airflow_mlpipe.model.declaration import Declaration
from airflow_mlpipe.model.inputs import DataInput, TableInput, TabularFormat
from airflow_mlpipe.runtime.tables.operations import Operation, TableOperations

PlainValue = bool | int | float | str | None


class QueryDataset(Declaration, TableOperations):
    """What *query* returns on the database of an Airflow *connection*, asked by the worker.

    ``parameters`` are values for the placeholders of the database's driver, a list or by name.
    ``query_timeout`` is in seconds, None for no end. ``identity`` says what makes the data the same as
    before: the ``content``, rows and their order, for which the query runs each time, or the ``definition``:
    the query itself, its parameters and the connection.
    """

    query: str
    connection: str
    parameters: tuple[PlainValue, ...] | dict[str, PlainValue] = ()
    query_timeout: float | None = None
    identity: Literal["content", "definition"] = "content"
    table: TabularFormat = TabularFormat(format="parquet")

    @field_validator("query", "connection")
    @classmethod
    def _is_no_empty_text(cls, text: str) -> str:
        if not text.strip():
            raise ValueError("it must not be empty")
        return text

    @field_validator("query_timeout", mode="before")
    @classmethod
    def _timeout_in_seconds(cls, timeout: Any) -> Any:
        seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
        if isinstance(seconds, (int, float)) and seconds <= 0:
            raise ValueError("it must be a number of seconds above 0, or None for no end")
        return seconds

    @property
    def default_input_name(self) -> None:
        return None

    def operations_so_far(self) -> Sequence[Operation]:
        return self.table.operations

    def _then(self, **operation: Any) -> QueryDataset:
        return self.model_copy(update={"table": self.table.then(**operation)})

    def as_unnamed_input(self) -> DataInput:
        return TableInput(source=self, tabular=self.table)

    def as_named_input(self, name: str) -> DataInput:
        """The rows as the input *name*, which is its key in ``run.input_datasets``."""
        return self.as_unnamed_input().as_named_input(name)


def query_and_connection(query: Any, connection: str | None) -> tuple[str, str]:
    """The two texts of what an author gave, also of SDK v1's pair of a datastore and a query."""
    if isinstance(query, tuple) and len(query) == 2 and connection is None:
        place, query = query
        connection = place.name if isinstance(place, Datastore) else place
    if not isinstance(query, str) or not isinstance(connection, str):
        raise DefinitionError(
            f"from_sql_query takes a query and the id of an Airflow connection, not {query!r} and "
            f"{connection!r}; write from_sql_query('SELECT ...', connection='warehouse')"
        )
    return query, connection


def as_parameters(
    given: Sequence[PlainValue] | Mapping[str, PlainValue] | None,
) -> tuple[Any, ...] | dict[str, Any]:
    """*given* as a QueryDataset holds it."""
    if isinstance(given, Mapping):
        return dict(given)
    return tuple(given or ())
