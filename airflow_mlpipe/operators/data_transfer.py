"""A step that copies data from one place to another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator
from airflow.sdk.bases.operator import get_merged_defaults
from airflow.sdk.definitions._internal.mixins import ResolveMixin
from airflow.sdk.definitions.mappedoperator import OperatorPartial
from airflow.sdk.exceptions import AirflowFailException

from airflow_mlpipe.errors import DefinitionError
from airflow_mlpipe.model.compute import ComputeTarget, LocalTarget
from airflow_mlpipe.model.dataset import Dataset, SourceDataset
from airflow_mlpipe.model.datastore import Address, Datastore, address_of, is_place
from airflow_mlpipe.operators.python_script import task_id_from
from airflow_mlpipe.pipeline import catalog
from airflow_mlpipe.pipeline.dataflow import Dataflow
from airflow_mlpipe.pipeline.functions.values import DATA
from airflow_mlpipe.pipeline.xcom import allow_references

if TYPE_CHECKING:
    from airflow_mlpipe.pipeline.transferring import Transfer
    from airflow_mlpipe.pipeline.worker import Worker
    from airflow_mlpipe.store.transfer.ends import CopyReport

allow_references()


class DataTransferStep(BaseOperator):
    """Copy files from one place to another, between any two datastores.

    Files that are at the destination with the same content are passed over; others of the same name are
    replaced. Where both places are of one service, it copies them itself. Returns ``copied``, ``skipped`` and
    ``deleted`` (numbers of files), ``bytes`` (of the copied files), ``server_side`` and ``dry_run``.

    :param source: what to copy: a path relative to the DAG file, a URL, a place in a datastore, a dataset, or
        an output of another step, after which it runs then. Templated.
    :param destination: where to: a URL, a place in a datastore, or a path in the deployment's own. The files
        of a folder go there, and so does a single file, under its own name if the destination ends with a
        slash. Templated.
    :param mirror: also delete at the destination what the source has not.
    :param dry_run: only log what would be copied and deleted. Default is True for the first run of a mirror,
        which somebody should look at, and False for anything else.
    :param compute_target: a local target, or its name, whose Airflow queue and pool the task takes. The files
        pass through the worker, so that another target is refused, and not heeded in ``default_args``.
    :param name: SDK v1's name of a step; it becomes the task id when ``task_id`` is not given.
    :param source_data_reference: SDK v1's word for ``source``.
    :param destination_data_reference: SDK v1's word for ``destination``.
    """

    template_fields: Sequence[str] = ("source", "destination")
    template_fields_renderers: ClassVar[dict[str, str]] = {"source": "json"}
    ui_color = "#c3e6e3"

    def __init__(
        self,
        *,
        source: Any = None,
        destination: Address | ResolveMixin | None = None,
        mirror: bool = False,
        dry_run: bool | None = None,
        compute_target: ComputeTarget | str | None = None,
        name: str | None = None,
        task_id: str | None = None,
        source_data_reference: Any = None,
        destination_data_reference: Any = None,
        **kwargs: Any,
    ) -> None:
        task_id = task_id or task_id_from(name or "transfer")
        if name is not None:
            kwargs.setdefault("task_display_name", name)
        default = (kwargs.get("default_args") or {}).get("compute_target")  # of the DAG, or of a task group
        placed = _placed_by(compute_target, f"step {task_id!r}", is_default=compute_target is default)
        super().__init__(task_id=task_id, **{**placed, **kwargs})
        self.source = self._one("source", source, source_data_reference)
        self.destination = self._one("destination", destination, destination_data_reference)
        self.mirror = mirror
        self._dry_run = dry_run  # BaseOperator has a method of the plain name
        self._joined = False
        self._check()
        if self.has_dag():
            self._join_dag()

    @classmethod
    def partial(cls, **kwargs: Any) -> OperatorPartial:
        """Part of the arguments, for ``.expand()``; queue and pool of the target are for all instances."""
        partial = super().partial(**kwargs)
        defaults, _ = get_merged_defaults(partial.kwargs["dag"], partial.kwargs["task_group"], None, None)
        default = defaults.get("compute_target")
        given = kwargs.get("compute_target", default)
        placed = _placed_by(given, f"step {partial.kwargs['task_id']!r}", is_default=given is default)
        partial.kwargs.update({name: value for name, value in placed.items() if name not in kwargs})
        return partial

    @property
    def who(self) -> str:
        """The step, for messages."""
        return f"step {self.task_id!r}"

    def resolve_template_files(self) -> None:
        """The last checks: Airflow calls this for every task when all of the DAG file is read."""
        super().resolve_template_files()
        if self.has_dag():
            self._join_dag()
            Dataflow.of(self.dag).check(self.task_id)

    def execute(self, context: Any) -> dict[str, Any]:
        """See the class. Raises StoreError and UserError for data that is not there or cannot be copied."""
        # What only a running task needs is imported when it runs.
        from airflow_mlpipe.pipeline.settings import Settings
        from airflow_mlpipe.pipeline.worker import Worker

        try:
            with Worker.open(Settings.read()) as worker:
                return self._transfer(worker, context)
        except DefinitionError as error:
            # Another try would read the same mistake.
            raise AirflowFailException(f"{self.who}: {error}") from error

    def _transfer(self, worker: Worker, context: Any) -> dict[str, Any]:
        from airflow_mlpipe.pipeline.transferring import Mirrors, document_of

        transfer = self._resolved(worker, context)
        mirrors = Mirrors(worker.stores)
        shows_first = self.mirror and self._dry_run is None
        is_first = shows_first and not mirrors.is_known(self.dag_id, self.task_id, transfer)
        dry_run = is_first if self._dry_run is None else self._dry_run
        report = transfer.run(worker.cache, mirror=self.mirror, dry_run=dry_run)
        self._tell(report, dry_run, transfer)
        if is_first:
            mirrors.remember(self.dag_id, self.task_id, transfer)
            self.log.info(
                "%s: this was the first run of a mirror, so that nothing was changed; the next one does it, "
                "and dry_run=False does it at once",
                self.who,
            )
        return document_of(report, dry_run=dry_run)

    def _resolved(self, worker: Worker, context: Any) -> Transfer:
        from airflow_mlpipe.pipeline.binding import Binder
        from airflow_mlpipe.pipeline.bundle import dag_folder
        from airflow_mlpipe.pipeline.transferring import Transfer
        from airflow_mlpipe.reuse.phrases import listing

        source = self.source
        if isinstance(source, str):
            source = Dataset.File.from_files(source)
        if isinstance(source, SourceDataset):
            # What counts is compared where it is copied, so that nothing needs to be read for a digest here.
            source = source.model_copy(update={"identity": "definition"})
        finder = worker.finder(dag_folder(self.dag))
        bound = Binder(self, context, finder, worker.registered()).bind([], [source]).inputs
        (found,) = bound.values()
        what = found.name if found.dataset is None else listing(found.dataset.paths)
        return Transfer.of(
            found.source, what, address_of(self.destination), worker.stores, mirror=self.mirror
        )

    def _tell(self, report: CopyReport, dry_run: bool, transfer: Transfer) -> None:
        from airflow_mlpipe.pipeline.transferring import deletions, summary

        for path in deletions(report):
            self.log.info("%s: %s", "would be deleted" if dry_run else "deleted", path)
        self.log.info("%s to %s: %s", transfer.what, transfer.destination, summary(report, dry_run=dry_run))

    def _one(self, keyword: str, given: Any, in_v1: Any) -> Any:
        if (given is None) == (in_v1 is None):
            raise DefinitionError(
                f"{self.who}: say either {keyword} or, as in SDK v1, {keyword}_data_reference"
            )
        return in_v1 if given is None else given

    def _check(self) -> None:
        if isinstance(self.source, (str, Datastore)) or is_place(self.source):
            self.source = address_of(self.source)
        elif not isinstance(self.source, (*DATA, ResolveMixin)):
            raise DefinitionError(
                f"{self.who}: source is {self.source!r}; it must be a path, a URL, a place in a datastore, a "
                "dataset, or an output of another step"
            )
        if not isinstance(self.destination, ResolveMixin):
            self.destination = address_of(self.destination)

    def _join_dag(self) -> None:
        """Take part in the DAG's dataflow; once."""
        if not self._joined:
            self._joined = True
            Dataflow.of(self.dag).join(self.dag, self.task_id, arguments=(), inputs=[self.source], outputs=())


def _placed_by(given: ComputeTarget | str | None, who: str, *, is_default: bool) -> dict[str, Any]:
    """What the target that is *given* says to Airflow's scheduler of a task that runs in the worker.

    Raises DefinitionError for one that is not the worker's machine, unless it is the default of all steps.
    """
    target = catalog.compute_target(given)
    if isinstance(target, LocalTarget):
        return target.task_arguments
    if is_default:
        return {}
    raise DefinitionError(
        f"{who}: compute target {target.name!r} is of type {target.type!r}, and a transfer passes through "
        "the Airflow worker; leave compute_target out, or name a local one whose queue and pool it is to take"
    )
