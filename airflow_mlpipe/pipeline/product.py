"""What a finished attempt made: looked at, described, and brought to where it is kept."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from airflow_mlpipe.errors import DefinitionError, DocumentError, StoreError, UserError
from airflow_mlpipe.model.entry import Function
from airflow_mlpipe.model.registered import checked_registered_name
from airflow_mlpipe.pipeline.attempt import AttemptPlaces
from airflow_mlpipe.pipeline.brought import BroughtFiles
from airflow_mlpipe.pipeline.costs import compute_of
from airflow_mlpipe.pipeline.identity import TaskIdentity
from airflow_mlpipe.pipeline.preparation import Preparation
from airflow_mlpipe.pipeline.settings import Settings
from airflow_mlpipe.pipeline.worker import hash_cache
from airflow_mlpipe.records import Registration, StepResult
from airflow_mlpipe.runtime.kept_files import AttemptFiles
from airflow_mlpipe.runtime.metrics import collect
from airflow_mlpipe.runtime.named_values import UnknownNameError
from airflow_mlpipe.runtime.registrations import registrations_in
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.layout import check_key, listing_key, metrics_key
from airflow_mlpipe.store.listing import describe_output, describe_stored
from airflow_mlpipe.store.manifest import (
    Manifest,
    ManifestOutput,
    ManifestRegistration,
    ManifestReturned,
    Producer,
)
from airflow_mlpipe.store.progress import Progress
from airflow_mlpipe.targets.attempt_records import BROUGHT
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
        if self._brought is None:
            self._bring(outputs)
            self._keep_files()
        registrations = self._registrations()
        manifest = self._manifest(result, outputs, snapshot, returned, registrations)
        return Product(manifest, unwritten, tuple(changed_inputs))

    @cached_property
    def _brought(self) -> BroughtFiles | None:
        """What the attempt brought to the datastore by itself; None when that is left to this worker."""
        directory = self.places.directory
        if directory.read_spec().carriage is None:
            return None
        return BroughtFiles(self.datastore, self.places.attempt, directory.path / BROUGHT)

    def _bring(self, outputs: Iterable[str]) -> None:
        for name in outputs:
            if self.datastore.local_path(self.places.output_key(name)) is None:
                progress = self._progress(f"uploading output {name}")
                self.datastore.upload(self.places.output(name), self.places.output_key(name), progress)

    def _returned(self) -> ManifestReturned | None:
        """What the step's function returned; None for a script or command."""
        if not isinstance(self.preparation.definition.entry, Function):
            return None
        directory = self.places.directory
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
        attempt = self.places.attempt
        with hash_cache(self.settings) as cache:
            described = {
                name: describe_output(
                    self.datastore,
                    attempt,
                    name,
                    self.places.output(name),
                    cache,
                    self._progress(f"hashing output {name}"),
                )
                if self._brought is None
                else self._brought.describe(name, self.places.output_key(name), listing_key(attempt, name))
                for name in (*self.preparation.binding.outputs, *artifacts)
            }
        return {name: output for name, output in described.items() if output is not None}

    def _keep_files(self) -> None:
        """Keep with the attempt what the script gave to its run, left in ``./outputs``, and logged."""
        places, datastore = self.places, self.datastore
        if datastore.local_path(places.files_key) is None:
            if places.files.is_dir():
                datastore.upload(places.files, places.files_key, self._progress("keeping files"))
            metrics = places.directory.metrics_path
            if metrics.exists():
                datastore.write(metrics_key(places.attempt), metrics.read_bytes())
        left = places.code / "outputs"
        if left.is_dir() and any(left.iterdir()):
            datastore.upload(left, f"{places.files_key}/outputs", self._progress("keeping ./outputs"))

    def _registrations(self) -> tuple[ManifestRegistration, ...]:
        """What the script asked to register, each with what lies there.

        Raises UserError for what is not there or cannot have the name that it is to be registered under.
        """
        asked = registrations_in(self.places.records)
        return tuple(self._registration(item, number) for number, item in enumerate(asked, start=1))

    def _registration(self, asked: Registration, number: int) -> ManifestRegistration:
        who, what = self.preparation.definition.who, f"{asked.kind} {asked.name!r}"
        try:
            checked_registered_name(asked.kind, asked.name)
            data = self._described_inside(asked, number)
        except (DefinitionError, StoreError, UnknownNameError) as error:
            raise UserError(f"{who}: {what} cannot be registered: {error}") from error
        if data is None:
            where = f"output {asked.output!r}"
            raise UserError(f"{who}: {what} cannot be registered: nothing is at {asked.inside!r} in {where}")
        return ManifestRegistration(
            kind=asked.kind,
            name=asked.name,
            output=asked.output,
            data=data,
            description=asked.description,
            tags=asked.tags,
            properties=asked.properties,
        )

    def _described_inside(self, asked: Registration, number: int) -> ManifestOutput | None:
        """The file or folder of the attempt that is to be registered; None when there is none."""
        above = self.places.files_key if asked.output is None else self.places.output_key(asked.output)
        key = check_key(f"{above}/{asked.inside}".rstrip("/"))
        listing = listing_key(self.places.attempt, f"registration-{number}")
        if self._brought is not None:
            return self._brought.describe(asked.name, key, listing)
        if asked.output is None:
            path = AttemptFiles(self.places.records, self.places.code).path(asked.inside)
        else:
            path = self.places.output(asked.output) / asked.inside
        with hash_cache(self.settings) as cache:
            return describe_stored(self.datastore, asked.name, key, listing, path, cache)

    def _manifest(
        self,
        result: StepResult,
        outputs: dict[str, ManifestOutput],
        snapshot: str,
        returned: ManifestReturned | None,
        registrations: tuple[ManifestRegistration, ...],
    ) -> Manifest:
        logged = collect(self.places.directory.metrics_path)
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
            properties=logged.properties,
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
            pins=self.preparation.binding.pins,
            registrations=registrations,
            compute=compute_of(self.preparation.definition.target),
        )

    def _progress(self, what: str) -> Progress:
        return Progress(what, log.info)
