"""The step: it reuses what it can, and makes what it must."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk.bases.operator import TRIGGER_FAIL_REPR
from airflow.sdk.bases.sensor import PokeReturnValue

from airflow_mlpipe.sensors.output_reuse import OutputReuseSensor

if TYPE_CHECKING:
    from airflow_mlpipe.pipeline.lookup import Sensing
    from airflow_mlpipe.pipeline.outcome import Outcome
    from airflow_mlpipe.pipeline.product import Product
    from airflow_mlpipe.pipeline.production import Production
    from airflow_mlpipe.pipeline.step_run import StepRun
    from airflow_mlpipe.reuse.decision import Policy
    from airflow_mlpipe.store.lease import Lease
    from airflow_mlpipe.store.manifest import Manifest
    from airflow_mlpipe.triggers.attempt import AttemptTrigger

# The triggerer ends an overdue step itself; Airflow's own time-out, which leaves it alone, comes after that.
TRIGGER_SECONDS = 60


class StepOperator(OutputReuseSensor):
    """A sensor that runs the step itself when there is nothing to sense.

    Of all task instances that need the same outputs at once, in any run and DAG, one holds the lease and
    runs; the others wait as sensors do, and find its outputs.
    """

    ui_color = "#c3dcf3"

    runs_the_step = True

    _production: Production | None = None
    _left: AttemptTrigger | None = None
    _stays = False
    _is_unwanted = False

    def execute(self, context: Any) -> Any:
        """Reuse, or run, or wait for somebody who runs the same; the value of the task."""
        self._is_unwanted = False
        return super().execute(context)

    def poke(self, context: Any) -> PokeReturnValue:
        """Reuse, or run, or wait for somebody who runs the same."""
        # Imported here and below, each where it is first needed: every DAG file imports this module, and a
        # step that is reused needs nothing of what runs one.
        from airflow_mlpipe.pipeline.step_run import StepRun

        step = StepRun.of(self, context)
        policy = step.policy
        sensing = step.secure(policy)
        if sensing.manifest is not None:
            return self._reuse(step, sensing)
        lease = self._take_lease(step, self._lease_of(step, policy))
        if lease is None:
            return PokeReturnValue(False)
        with lease:
            # Whoever held the lease before may have sealed between our look and our turn.
            sensing = step.secure(policy)
            if sensing.manifest is not None:
                return self._reuse(step, sensing)
            self.log.info("%s", sensing.decision.sentence())
            held = self._with_node(step, lease)
            if held is None:
                if lease.previous_attempts(announced=True):
                    lease.leave()  # whoever looks next must hear of attempts that may still run
                return PokeReturnValue(False)
            with ExitStack() as stack:
                for one in held:
                    stack.enter_context(one)
                    stack.enter_context(one.keep_alive())
                stack.enter_context(step.recorder.running(sensing))
                return self._run(step, policy, sensing, held)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Any) -> Any:
        """Go on after the triggerer. What it has failed to watch, which Airflow says here, is ended."""
        if next_method == TRIGGER_FAIL_REPR:
            self._abandon_left(context)
        return super().resume_execution(next_method, next_kwargs, context)

    def resume(self, context: Any, event: Mapping[str, Any], deadline: float | None = None) -> Any:
        """Go on after the triggerer; a step that it ended because its time was over has failed."""
        if event.get("status") == "overdue":
            self._fail_overdue(context, event["attempt"])
        if event.get("status") == "unwatched":
            self.log.warning("%s: the triggerer could not watch it: %s", self.who, event.get("message"))
            self._stays = True
        return super().resume(context, event, deadline)

    def on_kill(self) -> None:
        """End the step's whole process tree, when the task is marked failed or takes too long."""
        self._is_unwanted = True
        if self._production is not None:
            self._production.terminate()
        super().on_kill()

    def _lease_of(self, step: StepRun, policy: Policy) -> str:
        """What the lease is on: the fingerprint, or something of this task's own when nobody may share."""
        from airflow_mlpipe.reuse.canonical import digest

        fingerprint = step.preparation.fingerprint
        shared = policy.why_not_stored is None and policy.why_not_allowed is None
        if shared and not step.preparation.undetermined:
            return fingerprint
        return digest(["private", fingerprint, step.identity.owner])

    def _take_lease(self, step: StepRun, on: str) -> Lease | None:
        """The lease; None while somebody else holds it."""
        from airflow_mlpipe.store.lease import Lease
        from airflow_mlpipe.triggers.outputs import OutputsTrigger

        # Airflow runs one try of a task instance at a time, so the task instance is the owner.
        taken = step.leases.take(on, step.identity.owner, step.identity.attempt)
        if isinstance(taken, Lease):
            return taken
        self.log.info("%s: waiting for %s, which runs the same step", self.who, taken.owner or "somebody")
        self._trigger = OutputsTrigger.for_leases(step.datastore, [on], self.poke_interval)
        return None

    def _with_node(self, step: StepRun, lease: Lease) -> tuple[Lease, ...] | None:
        """*lease*, and that on a node where the target has so many and no more; None while all are taken."""
        if self.target.max_nodes is None:
            return (lease,)
        from airflow_mlpipe.pipeline.nodes import Nodes
        from airflow_mlpipe.triggers.outputs import OutputsTrigger

        nodes = Nodes(step.leases, self.target.name, self.target.max_nodes)
        node = nodes.take(step.identity.owner, step.identity.attempt)
        if node is not None:
            return lease, node
        self.log.info(
            "%s: waiting for a node of %s: others run on all %d", self.who, self.target.name, len(nodes.names)
        )
        self._trigger = OutputsTrigger.for_leases(step.datastore, nodes.names, self.poke_interval)
        return None

    def _run(
        self, step: StepRun, policy: Policy, sensing: Sensing, held: tuple[Lease, ...]
    ) -> PokeReturnValue:
        from airflow_mlpipe.pipeline.identity import first_of
        from airflow_mlpipe.pipeline.outcome import Outcome
        from airflow_mlpipe.pipeline.production import StillRunning

        lease = held[0]
        self._production = step.production(may_leave=self.deferrable and not self._stays)
        if self._is_unwanted:  # asked for while the step was prepared
            self._production.terminate()
        try:
            # What may have been sealed before is gone on with only if nothing speaks against its outputs.
            previous = lease.previous_attempts(announced=_is_new(sensing))
            product = self._production.run(previous, policy)
        except StillRunning as running:
            return self._leave(step, self._production, held, running.places.attempt)
        except BaseException:
            if self._production.may_still_run:
                lease.leave()
            raise
        finally:
            if self._left is None:
                self._production = None
        why_not = self._why_not_sealed(step, policy, product)
        if why_not is not None:
            self.log.info("%s: its outputs are not kept for reuse: %s", self.who, why_not)
            doubt = next(iter(product.changed_inputs), None)
            outcome = Outcome(sensing.decision, product.manifest, step.datastore, sealed=False, doubt=doubt)
        else:
            lease.announce_seal(first_of(product.manifest.producer.attempt))
            outcome = self._seal(step, policy, sensing, product.manifest)
        return self._hand_on(step, sensing, outcome)

    def _leave(
        self, step: StepRun, production: Production, held: tuple[Lease, ...], attempt: str
    ) -> PokeReturnValue:
        """Leave the running *attempt*, and the leases that are *held*, to the triggerer."""
        from airflow_mlpipe.model.kubernetes_target import KubernetesTarget
        from airflow_mlpipe.triggers.attempt import AttemptTrigger

        assert isinstance(self.target, KubernetesTarget)  # no other is left to the triggerer
        names = [lease.fingerprint for lease in held]
        try:
            trigger = AttemptTrigger.of(self.target, step.datastore, attempt, names, step.identity)
            production.leave(attempt)
        except BaseException:
            production.abandon(attempt)  # nobody would watch it
            if production.may_still_run:
                held[0].leave()
            raise
        self._trigger = self._left = trigger
        for lease in held:
            lease.leave()
        return PokeReturnValue(False)

    def _wait(self, context: Any, deadline: float) -> Any:
        if self._left is None:
            return super()._wait(context, deadline)
        # A step that is overdue already is the triggerer's to end, too.
        ends_by = self._left.deadline = min(deadline, self._ends_by(context, deadline))
        return self._hand_over(deadline, max(0.0, ends_by - time.time()) + TRIGGER_SECONDS)

    def _ends_by(self, context: Any, otherwise: float) -> float:
        """When the task has run for as long as it may; Airflow counts anew each time that it resumes."""
        if self.execution_timeout is None:
            return otherwise
        return float(context["ti"].start_date.timestamp() + self.execution_timeout.total_seconds())

    def _fail_overdue(self, context: Any, attempt: str) -> NoReturn:
        from airflow.sdk.exceptions import AirflowSensorTimeout

        from airflow_mlpipe.errors import StepError
        from airflow_mlpipe.pipeline.step_run import StepRun

        step = StepRun.of(self, context)
        with step.recorder.running(step.sense(step.policy)):
            step.production().abandon(attempt)  # the triggerer may not have succeeded in ending it
            if self._ends_by(context, math.inf) <= time.time():
                raise StepError(f"{self.who}: ran for longer than {self.execution_timeout}")
            raise AirflowSensorTimeout(f"{self.who}: ran for longer than {self.timeout:g} s")

    def _abandon_left(self, context: Any) -> None:
        from airflow_mlpipe.errors import MLPipeError
        from airflow_mlpipe.pipeline.step_run import StepRun

        try:
            StepRun.of(self, context).production().abandon_left()
        except MLPipeError as error:  # Airflow's own failure is the one to be told
            self.log.warning("%s: what it left running could not be ended: %s", self.who, error)

    def _seal(self, step: StepRun, policy: Policy, sensing: Sensing, ours: Manifest) -> Outcome:
        from airflow_mlpipe.pipeline.costs import Expense
        from airflow_mlpipe.pipeline.outcome import Outcome
        from airflow_mlpipe.store.sealing import seal

        replaces = policy.mode == "refresh" or policy.why_not_allowed is not None or _is_repair(sensing)
        sealed = seal(
            step.datastore,
            ours,
            replaces=sensing.seen if replaces else None,
            keyring=step.stores.keyring,
        )
        if sealed.producer.attempt == ours.producer.attempt:
            self.log.info("%s: ran for %s, outputs sealed", self.who, Expense.of(sealed))
        elif policy.why_not_allowed is not None:
            # Another run's outputs are equally good, but this step is to hand on its own.
            return Outcome(sensing.decision, ours, step.datastore, sealed=False)
        else:
            first = sealed.producer.step
            self.log.info("%s: %s was first to make the same outputs; those count", self.who, first)
        return Outcome(sensing.decision, sealed, step.datastore, sealed=True)

    def _why_not_sealed(self, step: StepRun, policy: Policy, product: Product) -> str | None:
        if policy.why_not_stored is not None:
            return policy.why_not_stored
        if step.preparation.undetermined:
            return step.preparation.undetermined[0]
        if product.changed_inputs:
            return product.changed_inputs[0]
        if product.unwritten:
            return f"output {product.unwritten[0]!r} was declared but not written"
        return None

    def _reuse(self, step: StepRun, sensing: Sensing) -> PokeReturnValue:
        self.log.info("%s", sensing.decision.sentence())
        return self._hand_on(step, sensing, sensing.reused())


def _is_new(sensing: Sensing) -> bool:
    """Whether nothing tells of earlier outputs of the same recipe."""
    return not sensing.seen and all(
        reason.kind in ("first", "changed") for reason in sensing.decision.reasons
    )


def _is_repair(sensing: Sensing) -> bool:
    return any(reason.kind in ("unusable", "too_old") for reason in sensing.decision.reasons)
