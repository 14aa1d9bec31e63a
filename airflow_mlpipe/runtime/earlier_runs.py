"""The runs of earlier steps of the same DAG run: ``run.parent.get_children()``.

The worker writes them into ``children.json`` of the attempt's directory before the script starts, when it
sees in the step's code that they are asked for. Nothing of such a step is reused: what other steps logged is
no declared input.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from airflow_mlpipe.errors import UserError
from airflow_mlpipe.records import EarlierRun, EarlierRuns, from_json
from airflow_mlpipe.runtime.logging_run import chosen
from airflow_mlpipe.runtime.refused import Refused

FILE = "children.json"

_CHANGE = "a run that has ended stays as it is; log what you found to this step's run, or to run.parent"


class ChildRun:
    """The run of an earlier step, to read."""

    def __init__(self, record: EarlierRun) -> None:
        self._record = record
        self.id = record.id
        self.name = record.name
        self.map_index = record.map_index

    log = log_list = log_row = log_table = Refused(_CHANGE)
    tag = Refused(_CHANGE)
    download_file = Refused("declare the other step's output as an input, so that it counts for reuse")

    @property
    def status(self) -> str:
        """``Completed``, ``Failed`` or ``Running``, as it was when this step started."""
        return self._record.status

    @property
    def tags(self) -> dict[str, str]:
        """What it was tagged with."""
        return dict(self._record.tags)

    @property
    def properties(self) -> dict[str, str]:
        """Its properties."""
        return dict(self._record.properties)

    def get_metrics(self, name: str | None = None, **_of_v1: object) -> dict[str, Any]:
        """What it logged, by name, or only *name*."""
        return chosen(dict(self._record.metrics), name)

    def get_status(self) -> str:
        """The same as :attr:`status`."""
        return self.status

    def get_tags(self) -> dict[str, str]:
        """The same as :attr:`tags`."""
        return self.tags

    def get_properties(self) -> dict[str, str]:
        """The same as :attr:`properties`."""
        return self.properties

    def get_details(self) -> dict[str, Any]:
        """A few facts under their v1 names."""
        return {"runId": self.id, "status": self.status, "tags": self.tags, "properties": self.properties}

    def wait_for_completion(self, **_of_v1: object) -> dict[str, Any]:
        """The details of a run that has ended; UserError for one that had not when this step started."""
        if self.status == "Running":
            raise UserError(
                f"the run of {self.name!r} had not ended when this step started, and a step cannot wait for "
                "another; let this step run after it"
            )
        return self.get_details()

    def __repr__(self) -> str:
        return f"ChildRun(name={self.name!r}, id={self.id!r}, status={self.status!r})"


def children_in(directory: Path) -> list[ChildRun]:
    """The earlier runs that the attempt in *directory* was told of, the latest first.

    Raises UserError when it was told of none, DocumentError when the file cannot be read.
    """
    try:
        document = (directory / FILE).read_bytes()
    except FileNotFoundError as error:
        raise UserError(
            "the runs of earlier steps are not known, because nothing in the step's own code says "
            "get_children; call it there by that name"
        ) from error
    records = from_json(EarlierRuns, document).runs
    return [ChildRun(record) for record in sorted(records, key=lambda item: item.started_at, reverse=True)]


def matching(
    children: list[ChildRun], tags: str | Mapping[str, str] | None, status: str | None
) -> Iterator[ChildRun]:
    """Those of *children* that have *tags*, a name or names with their values, and *status*."""
    wanted = {tags: None} if isinstance(tags, str) else dict(tags or {})
    for child in children:
        has_tags = all(
            name in child.tags and value in (None, child.tags[name]) for name, value in wanted.items()
        )
        if has_tags and status in (None, child.status):
            yield child
