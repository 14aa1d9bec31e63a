"""Running a step: launch it, follow it, and say what it made."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import count, takewhile
from pathlib import Path
from typing import Any

from airflow_mlpipe.errors import DocumentError, InfrastructureError, MLPipeError, StepError, StoreError
from airflow_mlpipe.model.entry import Function, Script
from airflow_mlpipe.pipeline.attempt import AttemptPlaces
from airflow_mlpipe.pipeline.binding import InputToken, OutputToken, Token
from airflow_mlpipe.pipeline.compute.drivers import can_be_watched, driver_for, shares_disk
from airflow_mlpipe.pipeline.datastores import credentials_for
from airflow_mlpipe.pipeline.earlier_runs import earlier_runs
from airflow_mlpipe.pipeline.failures import Retries, attributed, step_error
from airflow_mlpipe.pipeline.identity import TaskIdentity, successor
from airflow_mlpipe.pipeline.intake import intake_of
from airflow_mlpipe.pipeline.placements.contract import Layout, Placement
from airflow_mlpipe.pipeline.placements.here import Here
from airflow_mlpipe.pipeline.preparation import Preparation
from airflow_mlpipe.pipeline.product import Inspection, Product
from airflow_mlpipe.pipeline.secrets import is_secret
from airflow_mlpipe.pipeline.settings import Settings
from airflow_mlpipe.pipeline.snapshot import keep_snapshot, take_snapshot
from airflow_mlpipe.pipeline.stager import StagedInput
from airflow_mlpipe.pipeline.staging import remove_folder
from airflow_mlpipe.pipeline.stores import Stores
from airflow_mlpipe.pipeline.worker import environments_of, hash_cache
from airflow_mlpipe.records import CallSpec, LaunchSpec, OutputSpec, Private, RunInfo
from airflow_mlpipe.reuse.code_tree import BUNDLE, FUNCTION
from airflow_mlpipe.reuse.decision import Policy, is_too_old
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.targets.attempt_records import AttemptRecords
from airflow_mlpipe.targets.contract import AttemptDirectory, Container, TargetDriver
from airflow_mlpipe.targets.environments import search_path

log = logging.getLogger(__name__)
step_log = logging.getLogger("airflow_mlpipe.step")


class StillRunning(MLPipeError):
    """The attempt *places* runs, and the triggerer can wait for it as well as this worker."""

    def __init__(self, places: AttemptPlaces) -> None:
        self.places = places
        super().__init__(f"attempt {places.attempt} is still running")


class Lost(InfrastructureError):
    """The target lost an attempt after *seconds* there; another one may do better."""

    def __init__(self, message: str, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(message)


@dataclass
class Production:
    """One task instance making its step's outputs.

    ``context`` is that of the task. ``snapshot_kept`` is told the digest under which the code is kept, before
    it runs, ``attempt_lost`` the seconds of each attempt that the target lost. With ``may_leave`` the worker
    does not wait for a step that the triggerer can watch. ``may_still_run`` says of a run that failed whether
    something that it started, or found started, may not have ended: who comes next must hear of it.
    :meth:`terminate` may come from a signal handler at any time.
    """

    preparation: Preparation
    identity: TaskIdentity
    experiment: str
    settings: Settings
    stores: Stores
    context: Any
    snapshot_kept: Callable[[str], object]
    attempt_lost: Callable[[float], object]
    may_leave: bool = False
    may_still_run: bool = field(default=False, init=False)
    _running: AttemptPlaces | None = field(default=None, init=False)
    _left: AttemptPlaces | None = field(default=None, init=False)
    _is_to_end: bool = field(default=False, init=False)

    @property
    def datastore(self) -> Datastore:
        """Where it keeps what it makes."""
        return self.stores.own

    def run(self, previous_attempts: Sequence[str], policy: Policy) -> Product:
        """Run the step, or go on with one of *previous_attempts* that did, or still does, the same work.

        *policy* tells how old finished work may be, and whether it may be that of another run. An attempt
        that the target loses is followed by another one, as often as the target allows.
        Raises StillRunning for an attempt that is left to the triggerer. Raises a StepError when the step did
        not succeed; then nothing of it is kept for reuse. Raises StoreError when the datastore failed; then
        the step's work stays for the next try.
        """
        self.may_still_run = bool(previous_attempts)  # until they were looked at
        number, adopted = self._left_to_triggerer()
        if adopted is None:
            adopted = self._adopted(previous_attempts, policy)
        self.may_still_run = False
        retries = Retries(self._target.infrastructure_retries, self.identity.attempt, number)
        while True:
            places = adopted or self._places(successor(self.identity.attempt, retries.number))
            try:
                return self._finished(places, is_new=adopted is None)
            except Lost as error:
                self.attempt_lost(error.seconds)
                pause = retries.pause_after(error)
                if pause is None:
                    raise
                log.warning("%s", retries.sentence(error, pause))
                time.sleep(pause)
                if self._is_to_end:
                    raise
                if self.may_still_run:
                    self._end(places)
                adopted = None

    def terminate(self) -> None:
        """End the step's process and everything it started, and start no other. Twice is fine.

        So is an attempt that was left to the triggerer, as long as this worker is there.
        """
        self._is_to_end = True
        if (places := self._running or self._left) is not None:
            self._driver.terminate(places.directory)

    def leave(self, attempt: str) -> None:
        """Take away what this worker has of *attempt*, which the triggerer watches from here on.

        Whoever goes on with it may be another worker, and finds all that there is in the datastore. Raises
        StepError when the step was told to end meanwhile.
        """
        self._left = self._places(attempt)
        self._refuse_to_go_on()
        remove_folder(self._left.scratch)

    def abandon(self, attempt: str) -> None:
        """End *attempt*, which this try launched, and take away what it has put anywhere.

        One that cannot be ended ``may_still_run``; the log says why. Raises StoreError.
        """
        places = self._places(attempt)
        self._end(places)
        self._clear(places)

    def abandon_left(self) -> None:
        """:meth:`abandon` what this try has left to the triggerer, if anything."""
        for places in self._launched_to_be_watched()[-1:]:
            self.abandon(places.attempt)

    def _refuse_to_go_on(self) -> None:
        """Raise StepError once the step was told to end."""
        if self._is_to_end:
            raise StepError(f"{self._who}: was told to end")

    def _end(self, places: AttemptPlaces) -> StepError | None:
        """End an attempt that failed. One whose target does not answer may go on running; why is returned."""
        self.may_still_run = True  # when this is interrupted, too
        try:
            self._driver.terminate(places.directory)
        except StepError as error:
            log.warning("%s: attempt %s could not be ended: %s", self._who, places.attempt, error)
            return error
        self.may_still_run = False
        return None

    @property
    def _who(self) -> str:
        return self.preparation.definition.who

    @property
    def _target(self) -> Any:
        return self.preparation.definition.target

    @cached_property
    def _driver(self) -> TargetDriver:
        return driver_for(self._target, self.settings, self.datastore, self.context)

    @cached_property
    def _is_carried(self) -> bool:
        return not shares_disk(self._target)

    @property
    def _is_watched(self) -> bool:
        return self.may_leave and can_be_watched(self._target)

    def _places(self, attempt: str) -> AttemptPlaces:
        return AttemptPlaces.of(attempt, self.settings, self.datastore)

    def _placement(self, places: AttemptPlaces) -> Placement:
        given = (self.preparation, places, self.settings, self.stores, self.identity.owner)
        if self._is_carried:
            from airflow_mlpipe.pipeline.placements.carried import Carried

            return Carried(*given)
        return Here(*given)

    # -- earlier attempts -------------------------------------------------------------------------------

    def _launched(self, attempt: str) -> list[AttemptPlaces]:
        """*attempt*, and those that followed when the target had lost it, as far as they were launched."""
        places = (self._places(successor(attempt, number)) for number in count())
        if not self._is_carried:
            return list(takewhile(lambda place: place.directory.spec_path.exists(), places))
        records = AttemptRecords(self.datastore)
        return list(takewhile(lambda place: records.has_spec(place.directory), places))

    def _launched_to_be_watched(self) -> list[AttemptPlaces]:
        """What this try has launched, on a target that a triggerer can watch."""
        return self._launched(self.identity.attempt) if can_be_watched(self._target) else []

    def _left_to_triggerer(self) -> tuple[int, AttemptPlaces | None]:
        """The attempt that this try left to the triggerer, if any, and how many there were before it.

        One that was launched for another fingerprint, before something that counts was changed, is ended.
        """
        launched = self._launched_to_be_watched()
        if not launched:
            return 0, None
        last = launched[-1]
        self._driver.collect(last.directory)
        if self._is_ours(last):
            return len(launched) - 1, last
        log.warning(
            "Attempt %s ran what the step was before something was changed: it is ended, and the step starts "
            "anew",
            last.attempt,
        )
        self._end(last)
        self._clear(last)
        return len(launched), None

    def _is_ours(self, places: AttemptPlaces) -> bool:
        """Whether what was launched is what this run prepared."""
        try:
            return places.directory.read_spec().fingerprint == self.preparation.fingerprint
        except DocumentError:
            return False

    def _adopted(self, previous_attempts: Sequence[str], policy: Policy) -> AttemptPlaces | None:
        candidates = (self._adoptable(attempt, policy) for attempt in previous_attempts)
        return next(filter(None, candidates), None)

    def _adoptable(self, attempt: str, policy: Policy) -> AttemptPlaces | None:
        """The places of an earlier attempt that is running, or has succeeded, with this fingerprint.

        What the target lost of an attempt had successors of their own; the last of them counts.
        """
        for places in reversed(self._launched(attempt) or [self._places(attempt)]):
            if self._is_carried:
                self._driver.collect(places.directory)
            if self._may_go_on_with(places, policy):
                return places
            self._clear(places)
        return None

    def _may_go_on_with(self, places: AttemptPlaces, policy: Policy) -> bool:
        attempt, directory = places.attempt, places.directory
        try:
            spec = directory.read_spec()
            if spec.fingerprint != self.preparation.fingerprint:
                return False
            if self.stores.keyring.key_ids and places.records.stat().st_uid != os.geteuid():
                # Whoever may write to the datastore can name an attempt of his own in a lease.
                log.warning("Attempt %s of the same step is another user's: it is not signed here", attempt)
                return False
            state = self._driver.status(directory)
            if state == "running":
                log.info("Attempt %s of the same step is still running: following it", attempt)
                return True
            if state == "finished" and self._is_usable(spec, directory, policy):
                log.info("Attempt %s of the same step has finished: taking over its outputs", attempt)
                return True
            if state == "lost":
                # Its supervisor is gone; what it started may not be.
                self._driver.terminate(directory)
        except DocumentError as error:
            log.info("Attempt %s left nothing to go on with: %s", attempt, error)
        return False

    def _is_usable(self, spec: LaunchSpec, directory: AttemptDirectory, policy: Policy) -> bool:
        """Whether what an earlier attempt made is what this run asks for; DocumentError if it is lost."""
        self._driver.collect(directory)
        result = directory.read_result()
        of_this_run = (spec.run.dag_id, spec.run.dag_run_id) == (self.identity.dag_id, self.identity.run_id)
        if result.status != "succeeded" or not (of_this_run or policy.mode in ("normal", "read_only")):
            return False
        if spec.call is not None:
            directory.read_returned()
        return not is_too_old(policy, result.finished_at, time.time())

    # -- one attempt ------------------------------------------------------------------------------------

    def _finished(self, places: AttemptPlaces, *, is_new: bool) -> Product:
        """What the attempt made; afterwards nothing of it is left but its records and outputs."""
        self._running = places
        try:
            self._refuse_to_go_on()  # told to end while earlier attempts were looked at
            product = self._produce(places, is_new=is_new)
        except (StoreError, StillRunning):
            # What was done, or still is, stays as it is: who comes next goes on with it.
            raise
        except BaseException as error:
            problem = self._end(places)
            self._clear(places)
            if isinstance(error, Lost) and problem is not None and str(problem) not in str(error):
                raise Lost(f"{error}; {problem}", error.seconds) from error
            raise
        finally:
            self._running = None
        self._clear(places)
        return product

    def _produce(self, places: AttemptPlaces, *, is_new: bool) -> Product:
        archive = take_snapshot(self.preparation)
        snapshot = keep_snapshot(archive, self.datastore)
        self.snapshot_kept(snapshot)
        placement = self._placement(places)
        if is_new:
            self._refuse_changed_inputs(places)
            self._launch(places, placement, archive, snapshot)
        if self._is_watched and self._driver.status(places.directory) == "running":
            raise StillRunning(places)
        self._follow(places)
        if not self._is_ours(places):
            raise InfrastructureError(
                f"{self._who}: attempt {places.attempt} is not what was to be run; nothing of it is kept"
            )
        inspection = Inspection(
            self.preparation, self.identity, self.experiment, self.settings, self.datastore, places
        )
        return inspection.product(places.directory.read_result(), snapshot, self._changed_inputs(places))

    def _follow(self, places: AttemptPlaces) -> None:
        """Return when the attempt has succeeded; raise a StepError when it has not."""
        with self._naming_failures(places):
            for line in self._driver.logs(places.directory):
                step_log.info("%s", line)
            result = self._driver.result(places.directory)
        if result.status == "succeeded":
            self._driver.collect(places.directory)
            return
        limit = getattr(self._target, "memory", None)
        failure = step_error(result, self._who, limit, asked_for=self._is_to_end)
        if isinstance(failure, InfrastructureError):
            raise Lost(str(failure), result.finished_at - result.started_at)
        raise failure

    @contextmanager
    def _naming_failures(self, places: AttemptPlaces) -> Iterator[None]:
        """Name the step in what its driver raises; what that takes for infrastructure is Lost."""
        try:
            yield
        except StepError as error:
            failure = attributed(error, self._who)
            if isinstance(failure, InfrastructureError):
                raise Lost(str(failure), places.directory.age()) from error
            raise failure from error

    def _launch(self, places: AttemptPlaces, placement: Placement, archive: bytes, snapshot: str) -> None:
        staged = placement.stage(archive, snapshot)
        spec, secrets = self._spec(places, placement, staged)
        if self.preparation.code.why_undeclared is not None:
            placement.tell_earlier_runs(earlier_runs(self.stores, self.identity))
        private = Private(secrets, credentials_for(placement.urls()))
        container = self._container(placement)
        self._refuse_to_go_on()
        with self._naming_failures(places):
            self._driver.launch(places.directory, spec, private, container)
        if self._is_to_end:  # asked for while the target knew nothing of it yet
            self._driver.terminate(places.directory)

    def _spec(
        self, places: AttemptPlaces, placement: Placement, staged: Mapping[str, StagedInput]
    ) -> tuple[LaunchSpec, dict[str, str]]:
        """What is launched, and the values that it must not hold."""
        definition, binding, layout = self.preparation.definition, self.preparation.binding, placement.layout
        variables = definition.environment_variables
        secrets = {name: value for name, value in variables.items() if is_secret(name, value)}
        program, path = self._program()
        call = self._call(layout)
        spec = LaunchSpec(
            attempt=places.attempt,
            fingerprint=self.preparation.fingerprint,
            argv=[*program, *(_rendered(token, staged, layout) for token in binding.arguments)],
            directory=str(layout.directory),
            working_directory=str(layout.code),
            run=self._run_info(places),
            inputs={name: replace(item.spec, pin=binding.inputs[name].pin) for name, item in staged.items()},
            outputs={
                name: OutputSpec(str(layout.output(name)), output.is_folder)
                for name, output in binding.outputs.items()
            },
            environment={
                **path,
                **({} if call else {name: item.argument for name, item in staged.items()}),
                **{name: value for name, value in variables.items() if name not in secrets},
                "PYTHONPATH": definition.python_path.after(Path(layout.code / BUNDLE)),
                "PYTHONSAFEPATH": "",  # set, it would keep the script from importing what lies beside it
            },
            call=call,
            azureml_compat=self.preparation.azureml_compat,
            carriage=placement.carriage,
        )
        return spec, secrets

    def _run_info(self, places: AttemptPlaces) -> RunInfo:
        identity = self.identity
        return RunInfo(
            id=places.attempt,
            experiment=self.experiment,
            dag_id=identity.dag_id,
            dag_run_id=identity.run_id,
            task_id=identity.task_id,
            map_index=identity.map_index,
            try_number=identity.try_number,
        )

    def _call(self, layout: Layout) -> CallSpec | None:
        """How the step's function is called; None for a script or command."""
        entry, binding = self.preparation.definition.entry, self.preparation.binding
        if not isinstance(entry, Function):
            return None
        return CallSpec(
            module=f"{FUNCTION.rstrip('/')}.{entry.name}",
            function=entry.name,
            artifacts_directory=str(layout.outputs),
            parameters=binding.parameters,
            outputs=list(binding.outputs),
            unrolls=entry.unrolls,
            fields=list(entry.fields),
        )

    def _program(self) -> tuple[list[str], dict[str, str]]:
        """The program with its fixed arguments, and PATH where the program's children are to look elsewhere.

        An image has a PATH of its own.
        """
        definition = self.preparation.definition
        python, path = self.preparation.environment.python, {}
        if self.preparation.environment.image is None:
            with hash_cache(self.settings) as cache:
                environments = environments_of(definition.target, self.settings, self.stores, cache)
                interpreter = environments.interpreter(self.preparation.environment)
            python = str(interpreter)
            if not self._is_carried:
                path = {"PATH": search_path(interpreter)}
        if isinstance(definition.entry, Script):
            return [python, definition.entry.script_name], path
        if isinstance(definition.entry, Function):
            return [python, "-m", "airflow_mlpipe.runtime.call"], path
        return list(definition.entry.argv), path

    def _container(self, placement: Placement) -> Container | None:
        if self.preparation.environment.image is None:
            return None
        with hash_cache(self.settings) as cache:
            target = self.preparation.definition.target
            environments = environments_of(target, self.settings, self.stores, cache)
            image = environments.image(self.preparation.environment)
        return Container(image, placement.mounts())

    def _clear(self, places: AttemptPlaces) -> None:
        """Take away what an attempt that is over has put anywhere, besides its records and outputs."""
        try:
            self._driver.discard(places.directory)
        except StepError as error:  # of what is left behind; the attempt itself is over
            log.warning("%s: attempt %s left something on its target: %s", self._who, places.attempt, error)
        self._placement(places).clear()

    # -- its inputs -------------------------------------------------------------------------------------

    def _refuse_changed_inputs(self, places: AttemptPlaces) -> None:
        if changed := self._changed_inputs(places):
            raise InfrastructureError(f"{self._who}: {'; '.join(changed)}")

    def _changed_inputs(self, places: AttemptPlaces) -> list[str]:
        with hash_cache(self.settings) as cache:
            reader = self.identity.owner
            intake = intake_of(self.preparation, places.inputs, cache, self.settings, self.stores, reader)
            return intake.differences()


def _rendered(token: Token, staged: Mapping[str, StagedInput], layout: Layout) -> str:
    if isinstance(token, InputToken):
        return staged[token.name].argument
    if isinstance(token, OutputToken):
        return str(layout.output(token.name))
    return token
