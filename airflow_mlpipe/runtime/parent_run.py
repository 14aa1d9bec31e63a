"""``run.parent``: the pipeline run that a step belongs to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from airflow_mlpipe.runtime.earlier_runs import ChildRun, matching
from airflow_mlpipe.runtime.kept_files import KeptFiles
from airflow_mlpipe.runtime.logging_run import LoggingRun, MetricsSink
from airflow_mlpipe.runtime.refused import Refused


class ParentRun(LoggingRun):
    """The pipeline run that the step belongs to; ``id`` is its run id."""

    wait_for_completion = Refused("the pipeline run ends after its steps; Airflow waits for them")
    find_step_run = Refused("look for it by its name among get_children()")

    def __init__(
        self, id: str, sink: MetricsSink, files: KeptFiles, children: Callable[[], list[ChildRun]]
    ) -> None:
        super().__init__(id, "parent", sink, files)
        self._children = children

    @property
    def status(self) -> str:
        """``Running``: this step is a part of it."""
        return "Running"

    def get_status(self) -> str:
        """The same as :attr:`status`."""
        return self.status

    def get_children(
        self,
        recursive: bool = False,
        tags: str | Mapping[str, str] | None = None,
        status: str | None = None,
    ) -> Iterator[ChildRun]:
        """The runs of the steps that began before this one, the latest first, with *tags* and *status*.

        A step whose code says ``get_children`` is never reused. Raises UserError when nothing is known of
        other steps; outside a pipeline there are none.
        """
        return matching(self._children(), tags, status)
