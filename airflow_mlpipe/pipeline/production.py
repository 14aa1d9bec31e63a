"""Running a step: launch it, follow it, and say what it made."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from airflow_mlpipe.errors import (
    DocumentError,
    InfrastructureError,
    StepError,
    StoreError,
    TargetError,
    UserError,
)
from airflow_mlpipe.model.entry import Function, Script
from airflow_mlpipe.pipeline.attempt import AttemptPlaces
from airflow_mlpipe.pipeline.binding import InputToken, OutputToken, Token
from airflow_mlpipe.pipeline.datastores import credentials_for
from airflow_mlpipe.pipeline.earlier_runs import earlier_runs
from airflow_mlpipe.pipeline.identity import TaskIdentity
from airflow_mlpipe.pipeline.intake import Intake
from airflow_mlpipe.pipeline.preparation import Preparation
from airflow_mlpipe.pipeline.product import Inspection, Product
from airflow_mlpipe.pipeline.remote_inputs import RemoteInputs
from airflow_mlpipe.pipeline.secrets import is_secret
from airflow_mlpipe.pipeline.settings import Settings
from airflow_mlpipe.pipeline.snapshot import keep_snapshot, take_snapshot
from airflow_mlpipe.pipeline.staging import StagedInput, Staging, remove_folder
from airflow_mlpipe.pipeline.stores import Stores
from airflow_mlpipe.pipeline.traces import Traces
from airflow_mlpipe.pipeline.worker import download_cache, hash_cache, local_environments, source_finder
from airflow_mlpipe.records import CallSpec, LaunchSpec, OutputSpec, RunInfo, StepResult
from airflow_mlpipe.reuse.code_tree import FUNCTION
from airflow_mlpipe.reuse.decision import Policy, is_too_old
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.hash_cache import HashCache
from airflow_mlpipe.store.progress import Progress
from airflow_mlpipe.store.snapshot import unpack
from airflow_mlpipe.targets.contract import AttemptDirectory
from airflow_mlpipe.targets.environments import search_path
from airflow_mlpipe.targets.local import LocalDriver
from airflow_mlpipe.targets.runtime_bundle import runtime_bundle

log = logging.getLogger(__name__)
step_log = logging.getLogger("airflow_mlpipe.step")


@dataclass
class Production:
    """One task instance making its step's outputs.

    ``snapshot_kept`` is told the digest under which the code is kept, before it runs. :meth:`terminate` may
    come from a signal handler at any time.
    """

    preparation: Preparation
    identity: TaskIdentity
    experiment: str
    settings: Settings
    stores: Stores
    snapshot_kept: Callable[[str], object]
    _driver: LocalDriver = field(init=False)
    _running: AttemptPlaces | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._driver = LocalDriver(runtime_bundle(self.settings.cache_directory))

    @property
    def datastore(self) -> Datastore:
        """Where it keeps what it makes."""
        return self.stores.own

    def run(self, previous_attempts: Sequence[str], policy: Policy) -> Product:
        """Run the step, or go on with one of *previous_attempts* that did, or still does, the same work.

        *policy* tells how old finished work may be, and whether it may be that of another run.
        Raises a StepError when the step did not succeed; then nothing of it is kept for reuse. Raises
        StoreError when the datastore failed; then the step's work stays for the next try.
        """
        candidates = (self._adoptable(attempt, policy) for attempt in previous_attempts)
        adopted = next(filter(None, candidates), None)
        places = adopted or self._places(self.identity.attempt)
        self._running = places
        try:
            product = self._produce(places, is_new=adopted is None)
        except StoreError:
            # What was done, or still is, stays as it is: the next try goes on with it.
            raise
        except BaseException:
            self.terminate()
            self._clear(places)
            raise
        finally:
            self._running = None
        self._clear(places)
        return product

    def _produce(self, places: AttemptPlaces, *, is_new: bool) -> Product:
        archive = take_snapshot(self.preparation)
        snapshot = keep_snapshot(archive, self.datastore)
        self.snapshot_kept(snapshot)
        if is_new:
            self._refuse_changed_inputs(places)
            self._launch(places, archive)
        for line in self._driver.logs(AttemptDirectory(places.records)):
            step_log.info("%s", line)
        result = self._driver.result(AttemptDirectory(places.records))
        self._raise_for(result)
        inspection = Inspection(
            self.preparation, self.identity, self.experiment, self.settings, self.datastore, places
        )
        return inspection.product(result, snapshot, self._changed_inputs(places))

    def terminate(self) -> None:
        """End the step's process and everything it started. Twice is fine."""
        if (places := self._running) is not None:
            self._driver.terminate(AttemptDirectory(places.records))

    def _places(self, attempt: str) -> AttemptPlaces:
        return AttemptPlaces.of(attempt, self.settings, self.datastore)

    def _progress(self, what: str) -> Progress:
        return Progress(what, log.info)

    def _adoptable(self, attempt: str, policy: Policy) -> AttemptPlaces | None:
        """The places of an earlier attempt that is running, or has succeeded, with this fingerprint."""
        places = self._places(attempt)
        directory = AttemptDirectory(places.records)
        try:
            spec = directory.read_spec()
            if spec.fingerprint != self.preparation.fingerprint:
                return None
            if self.stores.keyring.key_ids and places.records.stat().st_uid != os.geteuid():
                # Whoever may write to the datastore can name an attempt of his own in a lease.
                log.warning("Attempt %s of the same step is another user's: it is not signed here", attempt)
                return None
            state = self._driver.status(directory)
            if state == "running":
                log.info("Attempt %s of the same step is still running: following it", attempt)
                return places
            if state == "finished" and self._is_usable(spec, directory, policy):
                log.info("Attempt %s of the same step has finished: taking over its outputs", attempt)
                return places
            if state == "lost":
                # Its supervisor is gone; what it started may not be.
                self._driver.terminate(directory)
        except DocumentError as error:
            log.info("Attempt %s left nothing to go on with: %s", attempt, error)
        self._clear(places)
        return None

    def _is_usable(self, spec: LaunchSpec, directory: AttemptDirectory, policy: Policy) -> bool:
        """Whether what an earlier attempt made is what this run asks for; DocumentError if it is lost."""
        result = directory.read_result()
        of_this_run = (spec.run.dag_id, spec.run.dag_run_id) == (self.identity.dag_id, self.identity.run_id)
        if result.status != "succeeded" or not (of_this_run or policy.mode in ("normal", "read_only")):
            return False
        if spec.call is not None:
            directory.read_returned()
        return not is_too_old(policy, result.finished_at, time.time())

    def _clear(self, places: AttemptPlaces) -> None:
        """Take away what an attempt that is over has put on this machine, besides its records and outputs."""
        Traces(places.inputs).clear()
        if not self.settings.keep_work_directories:
            remove_folder(places.scratch)

    def _launch(self, places: AttemptPlaces, archive: bytes) -> None:
        Traces(places.inputs).clear()
        remove_folder(places.scratch)
        places.scratch.mkdir(parents=True)
        unpack(archive, places.code)
        (places.code / "outputs").mkdir(exist_ok=True)
        places.outputs.mkdir(parents=True, exist_ok=True)
        outputs = self.preparation.binding.outputs
        for name in outputs:
            if outputs[name].is_folder:
                places.output(name).mkdir(exist_ok=True)
        staged = self._staged(places)
        variables = self.preparation.definition.environment_variables
        secrets = {name: value for name, value in variables.items() if is_secret(name, value)}
        program, path = self._program()
        identity = self.identity
        call = self._call(places)
        spec = LaunchSpec(
            attempt=places.attempt,
            fingerprint=self.preparation.fingerprint,
            argv=[
                *program,
                *(_rendered(token, staged, places) for token in self.preparation.binding.arguments),
            ],
            directory=str(places.records),
            working_directory=str(places.code),
            run=RunInfo(
                id=places.attempt,
                experiment=self.experiment,
                dag_id=identity.dag_id,
                dag_run_id=identity.run_id,
                task_id=identity.task_id,
                map_index=identity.map_index,
                try_number=identity.try_number,
            ),
            inputs={
                name: replace(item.spec, pin=self.preparation.binding.inputs[name].pin)
                for name, item in staged.items()
            },
            outputs={name: OutputSpec(str(places.output(name)), outputs[name].is_folder) for name in outputs},
            environment={
                "PATH": path,
                **({} if call else {name: item.argument for name, item in staged.items()}),
                **{name: value for name, value in variables.items() if name not in secrets},
                "PYTHONPATH": self.preparation.definition.python_path.after(places.along),
                "PYTHONSAFEPATH": "",  # set, it would keep the script from importing what lies beside it
            },
            call=call,
            azureml_compat=self.preparation.azureml_compat,
        )
        if self.preparation.code.why_undeclared is not None:
            self._tell_earlier_runs(places)
        self._driver.launch(spec, secrets, credentials_for(self._direct_urls(staged)))

    def _direct_urls(self, staged: Mapping[str, StagedInput]) -> Iterator[str]:
        """What the step opens by itself."""
        for name, bound in self.preparation.binding.inputs.items():
            if bound.mode == "direct":
                yield from staged[name].spec.paths

    def _tell_earlier_runs(self, places: AttemptPlaces) -> None:
        """Write down what the script will ask of ``run.parent.get_children()``."""
        directory = AttemptDirectory(places.records)
        directory.write_earlier_runs(earlier_runs(self.stores, self.identity))

    def _staged(self, places: AttemptPlaces) -> dict[str, StagedInput]:
        """Put the inputs in place; InfrastructureError when one turns out to be damaged."""
        staged = {}
        with hash_cache(self.settings) as cache:
            remote = RemoteInputs(self.stores, cache, download_cache(self.settings), self._progress)
            staging = Staging(places.inputs, self._progress, remote, self.settings.mount)
            for name, bound in self.preparation.binding.inputs.items():
                try:
                    staged[name] = staging.stage(bound)
                except StoreError as error:
                    if (damage := self._intake(places, cache).damage(name)) is not None:
                        raise InfrastructureError(f"{self.preparation.definition.who}: {damage}") from error
                    raise
        Traces(places.inputs).all_staged()
        return staged

    def _call(self, places: AttemptPlaces) -> CallSpec | None:
        """How the step's function is called; None for a script or command."""
        entry, binding = self.preparation.definition.entry, self.preparation.binding
        if not isinstance(entry, Function):
            return None
        return CallSpec(
            module=f"{FUNCTION.rstrip('/')}.{entry.name}",
            function=entry.name,
            artifacts_directory=str(places.outputs),
            parameters=binding.parameters,
            outputs=list(binding.outputs),
            unrolls=entry.unrolls,
            fields=list(entry.fields),
        )

    def _program(self) -> tuple[list[str], str]:
        """The program with its fixed arguments, and the PATH on which it and its children look."""
        definition = self.preparation.definition
        with hash_cache(self.settings) as cache:
            environments = local_environments(definition.target, self.settings, self.stores, cache)
            python = environments.interpreter(self.preparation.environment)
        if isinstance(definition.entry, Script):
            return [str(python), definition.entry.script_name], search_path(python)
        if isinstance(definition.entry, Function):
            return [str(python), "-m", "airflow_mlpipe.runtime.call"], search_path(python)
        return list(definition.entry.argv), search_path(python)

    def _raise_for(self, result: StepResult) -> None:
        if result.status == "succeeded":
            return
        what = result.message or f"ended with exit code {result.exit_code}"
        lines = "".join(f"\n    {line}" for line in result.last_lines)
        message = f"{self.preparation.definition.who}: {what}"
        message += f"; its last lines were:{lines}" if lines else "; it printed nothing"
        if result.status == "terminated":
            raise StepError(message)
        if result.exit_code is None:
            raise TargetError(message)
        raise InfrastructureError(message) if result.exit_code < 0 else UserError(message)

    def _refuse_changed_inputs(self, places: AttemptPlaces) -> None:
        if changed := self._changed_inputs(places):
            raise InfrastructureError(f"{self.preparation.definition.who}: {'; '.join(changed)}")

    def _changed_inputs(self, places: AttemptPlaces) -> list[str]:
        with hash_cache(self.settings) as cache:
            return self._intake(places, cache).differences()

    def _intake(self, places: AttemptPlaces, cache: HashCache) -> Intake:
        finder = source_finder(self.preparation.definition.folder, cache, self.settings)
        binding, reader = self.preparation.binding, self.identity.owner
        return Intake(binding, finder, cache, self.stores, Traces(places.inputs), reader)


def _rendered(token: Token, staged: dict[str, StagedInput], places: AttemptPlaces) -> str:
    if isinstance(token, InputToken):
        return staged[token.name].argument
    if isinstance(token, OutputToken):
        return str(places.output(token.name))
    return token
