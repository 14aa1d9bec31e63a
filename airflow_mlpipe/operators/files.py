"""The files of a folder output, as something to map over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from airflow.sdk import BaseOperator
from airflow.sdk.definitions._internal.mixins import ResolveMixin

from airflow_mlpipe.errors import DefinitionError, UserError
from airflow_mlpipe.model.data import StepOutput
from airflow_mlpipe.model.reference import PipelineDataReference
from airflow_mlpipe.pipeline.dataflow import Dataflow
from airflow_mlpipe.pipeline.expansion import longest_expansion, nothing_to_map
from airflow_mlpipe.pipeline.xcom import allow_references

allow_references()


class ListFiles(BaseOperator):
    """List the files of a folder that a step wrote; returns a list of references, one for each, by path.

    A reference is an input like any other, and counts by its content: a step that is mapped over the list
    runs for the files that are new or have changed.

    :param folder: the folder: ``step.output["name"]``, ``prepared["name"]``, or the PipelineData itself.
    :param pattern: which files: ``*.csv`` in the folder itself, ``**/*.csv`` also below it.
    :param allow_empty: whether no file at all is fine; what is mapped over it is skipped then.
    """

    template_fields: Sequence[str] = ("folder",)
    template_fields_renderers: ClassVar[dict[str, str]] = {"folder": "json"}
    ui_color = "#e8e8f5"

    def __init__(self, *, folder: Any, pattern: str = "*", allow_empty: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.folder = folder
        self.pattern = pattern
        self.allow_empty = allow_empty
        self._joined = False
        self._check()
        if self.has_dag():
            self._join_dag()

    @property
    def who(self) -> str:
        """The task, for messages."""
        return f"task {self.task_id!r}"

    def resolve_template_files(self) -> None:
        """The last checks: Airflow calls this for every task when all of the DAG file is read."""
        super().resolve_template_files()
        if self.has_dag():
            self._join_dag()
            Dataflow.of(self.dag).check(self.task_id)

    def execute(self, context: Any) -> list[PipelineDataReference]:
        """See the class. Raises UserError when nothing matches, or more than Airflow maps over."""
        found = self.planned(context)
        self._check_length(found)
        self.log.info("%s: %d files match %r", self.who, len(found), self.pattern)
        if (sentence := nothing_to_map(self, found)) is not None:
            self.log.info("%s", sentence)
        return found

    def planned(self, context: Any) -> list[PipelineDataReference]:
        """What it returns in a run in which its ``folder``, rendered, is what it is now.

        Raises UserError and StoreError as :meth:`execute` does.
        """
        # What only a running task needs is imported when it runs.
        from airflow_mlpipe.pipeline.folder_files import files_of
        from airflow_mlpipe.pipeline.settings import Settings
        from airflow_mlpipe.pipeline.stores import Stores
        from airflow_mlpipe.pipeline.worker import hash_cache
        from airflow_mlpipe.reuse.phrases import listing
        from airflow_mlpipe.store.patterns import matches

        folder, settings = self._reference(context), Settings.read()
        with hash_cache(settings) as cache:
            files = files_of(folder, Stores.open(settings), cache)
        found = [file for file in files if matches(file.inside, self.pattern)]
        if not found and not self.allow_empty:
            there = f"it has {listing([file.inside for file in files])}" if files else "it has no files"
            raise UserError(
                f"{self.who}: no file of {folder.name} of {folder.producer} matches {self.pattern!r}; "
                f"{there}; correct the pattern, or say allow_empty=True"
            )
        return found

    def _reference(self, context: Any) -> PipelineDataReference:
        from airflow_mlpipe.pipeline.binding import pulled

        folder = self.folder
        if isinstance(folder, StepOutput):
            folder = pulled(folder, self.dag, context)
        if isinstance(folder, PipelineDataReference):
            return folder
        raise UserError(
            f"{self.who}: its folder resolved to {folder!r} of type {type(folder).__qualname__}; it must be "
            "the reference to one folder that a step wrote, such as step.output['name']"
        )

    def _check(self) -> None:
        if not isinstance(self.folder, (StepOutput, PipelineDataReference, ResolveMixin)):
            raise DefinitionError(
                f"{self.who}: folder is {self.folder!r}; it must be a folder that a step writes, such as "
                "step.output['name']; for files that are there already, take a Dataset"
            )
        parts = self.pattern.split("/") if isinstance(self.pattern, str) else [""]
        if any(part in ("", ".", "..") for part in parts) or "\\" in self.pattern:
            raise DefinitionError(
                f"{self.who}: pattern {self.pattern!r} cannot match a path inside the folder; write it like "
                "'*.csv' or 'daily/**/*.csv'"
            )

    def _check_length(self, found: Sequence[PipelineDataReference]) -> None:
        limit = longest_expansion()
        if len(found) > limit and next(self.iter_mapped_dependants(), None) is not None:
            raise UserError(
                f"{self.who}: {len(found)} files match {self.pattern!r}, and Airflow maps over {limit} at "
                "most; let the step write fewer and larger files, list them in parts by narrower patterns, "
                "or raise [core] max_map_length"
            )

    def _join_dag(self) -> None:
        """Take part in the DAG's dataflow; once."""
        if self._joined:
            return
        self._joined = True
        if isinstance(self.folder, StepOutput):
            Dataflow.of(self.dag).join(self.dag, self.task_id, arguments=(), inputs=[self.folder], outputs=())
