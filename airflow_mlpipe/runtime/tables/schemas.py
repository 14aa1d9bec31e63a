"""Columns of several files as columns of one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow_mlpipe.errors import UserError
from airflow_mlpipe.runtime.tables.engine import arrow


def united(schemas: Mapping[str, Any], columns: Sequence[str]) -> Any:
    """The schema of *columns*, each of a type that has room for those in all of *schemas*, by file.

    Raises UserError for a column that has no such type, as of texts and numbers.
    """
    pyarrow = arrow()
    fields = []
    for column in columns:
        together = pyarrow.schema([])
        for file, schema in schemas.items():
            if column not in schema.names:
                continue
            one = pyarrow.schema([schema.field(column).with_nullable(True)])
            try:
                together = pyarrow.unify_schemas([together, one], promote_options="permissive")
            except pyarrow.ArrowException as error:
                raise UserError(
                    f"column {column!r} is of type {one.field(0).type} in {file} and of type "
                    f"{together.field(0).type} before; give the files one type, or make two datasets of them"
                ) from error
        fields.append(together.field(0))
    return pyarrow.schema(fields)
