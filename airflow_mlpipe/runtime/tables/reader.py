"""What a format has to tell of the files of a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from airflow_mlpipe.runtime.tables.expressions import Tree
from airflow_mlpipe.runtime.tables.files import TableFile


class Reader(Protocol):
    """Reads files of one format. All methods raise UserError for a file that cannot be read."""

    def columns(self) -> list[str]:
        """The columns that any of the files has, in the order in which they first appear."""

    def schema(self, columns: Sequence[str]) -> Any:
        """The Arrow schema of *columns*: of each the type that all files can have it in."""

    def batches(self, file: TableFile, schema: Any, where: Tree | None) -> Iterator[Any]:
        """The rows of *file* in their order, as batches that have the columns of *schema* that the file has.

        Their types are those of *schema*, or can be cast to them. Rows that do not answer *where* with yes
        may be left out.
        """


def in_order(names: Sequence[Sequence[str]]) -> list[str]:
    """All of *names*, each once, in the order in which they first appear."""
    return list(dict.fromkeys(name for some in names for name in some))
