"""What a finished attempt made: looked at, described, and brought to where it is kept."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass

from airflow_mlpipe.errors import DocumentError, UserError
from airflow_mlpipe.model.entry import Function
from airflow_mlpipe.pipeline.attempt import AttemptPlaces
from airflow_mlpipe.pipeline.identity import TaskIdentity
from airflow_mlpipe.pipeline.preparation import Preparation
from airflow_mlpipe.pipeline.settings import Settings
from airflow_mlpipe.pipeline.worker import hash_cache
from airflow_mlpipe.records import StepResult
from airflow_mlpipe.runtime.metrics import collect
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.listing import describe_output
from airflow_mlpipe.store.manifest import Manifest, ManifestOutput, ManifestReturned, Producer
from airflow_mlpipe.store.progress import Progress
from airflow_mlpipe.targets.contract import AttemptDirectory
from airflow_mlpipe.version import __version__

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Product:
    """What a finished attempt made: a manifest that is not sealed yet, and what speaks against sealing it.

    That is outputs left unwritten, by name, and sentences on inputs that changed while the step ran.
    """

    manifest: Manifest
    unwritten: tuple[str, ...] = ()
    changed_inputs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Inspection:
    """The look at an attempt that has succeeded."""

    preparation: Preparation
    identity: TaskIdentity
    experiment: str
    settings: Settings
    datastore: Datastore
    places: AttemptPlaces

    def product(self, result: StepResult, snapshot: str, changed_inputs: Sequence[str]) -> Product:
        """Describe what is there, and bring it to the datastore.

        Raises UserError when something is missing that the step had to leave, StoreError when the datastore
        fails, DocumentError when a record of the attempt cannot be read.
        """
        returned = self._returned()
        outputs = self._described_outputs(() if returned is None else returned.artifacts)
        unwritten = tuple(name for name in self.preparation.binding.outputs if name not in outputs)
        self._refuse_lost_outputs(unwritten, is_function=returned is not None)
        for name in outputs:
            if self.datastore.local_path(self.places.output_key(name)) is None:
                progress = self._progress(f"uploading output {name}")
                self.datastore.upload(self.places.output(name), self.places.output_key(name), progress)
        self._keep_files()
        manifest = self._manifest(result, outputs, snapshot, returned)
        return Product(manifest, unwritten, tuple(changed_inputs))

    def _returned(self) -> ManifestReturned | None:
        """What the step's function returned; None for a script or command."""
        if not isinstance(self.preparation.definition.entry, Function):
            return None
        directory = AttemptDirectory(self.places.records)
        if not directory.returned_path.exists():
            raise UserError(
                f"{self.preparation.definition.who}: the process ended well before the function had "
                "returned, as sys.exit() does it; let the function return"
            )
        returned = directory.read_returned()
        if taken := set(returned.artifacts) & set(self.preparation.binding.outputs):
            raise DocumentError(f"the output {min(taken)!r} was returned as well")
        return ManifestReturned.of(returned.values, returned.artifacts, unrolled=returned.unrolled)

    def _refuse_lost_outputs(self, unwritten: Sequence[str], *, is_function: bool) -> None:
        """A folder that was there must still be there, and a function writes every output it asks for."""
        who, outputs = self.preparation.definition.who, self.preparation.binding.outputs
        for name in unwritten:
            if outputs[name].is_folder:
                raise UserError(f"{who}: the folder of output {name!r} was removed")
            if is_function:
                raise UserError(
                    f"{who}: the function ended without writing its output {name!r}; it must create a file "
                    f"or a folder at the path it is given, {self.places.output(name)}"
                )

    def _described_outputs(self, artifacts: Sequence[str]) -> dict[str, ManifestOutput]:
        """What the step wrote, by output, and the *artifacts* that it returned; less what is not there."""
        with hash_cache(self.settings) as cache:
            described = {
                name: describe_output(
                    self.datastore,
                    self.places.attempt,
                    name,
                    self.places.output(name),
                    cache,
                    self._progress(f"hashing output {name}"),
                )
                for name in (*self.preparation.binding.outputs, *artifacts)
            }
        return {name: output for name, output in described.items() if output is not None}

    def _keep_files(
        self,
    ) -> None:
        """Keep what the script left in ``./outputs`` with the attempt."""
        left = self.places.code / "outputs"
        if left.is_dir() and any(left.iterdir()):
            self.datastore.upload(left, self.places.files_key, self._progress("keeping ./outputs"))

    def _manifest(
        self,
        result: StepResult,
        outputs: dict[str, ManifestOutput],
        snapshot: str,
        returned: ManifestReturned | None,
    ) -> Manifest:
        logged = collect(AttemptDirectory(self.places.records).metrics_path)
        if logged.truncated or logged.bad_lines:
            log.warning(
                "Some metrics could not be kept: %d unusable lines, truncated: %s",
                logged.bad_lines,
                logged.truncated,
            )
        identity = self.identity
        return Manifest(
            schema_version=1,
            fingerprint=self.preparation.fingerprint,
            recipe=self.preparation.recipe.as_document(),
            outputs=outputs,
            results=logged.metrics,
            parent_metrics=logged.parent_metrics,
            tags=logged.tags,
            producer=Producer(
                dag_id=identity.dag_id,
                run_id=identity.run_id,
                task_id=identity.task_id,
                map_index=identity.map_index,
                try_number=identity.try_number,
                attempt=self.places.attempt,
                experiment=self.experiment,
                host=socket.gethostname(),
            ),
            started_at=result.started_at,
            finished_at=result.finished_at,
            sealed_at=time.time(),
            snapshot=snapshot,
            provider_version=__version__,
            returned=returned,
        )

    def _progress(self, what: str) -> Progress:
        return Progress(what, log.info)
