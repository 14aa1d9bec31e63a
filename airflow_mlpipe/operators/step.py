"""The step: it reuses what it can, and makes what it must."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from airflow.sdk.bases.sensor import PokeReturnValue

from airflow_mlpipe.sensors.output_reuse import OutputReuseSensor

if TYPE_CHECKING:
    from airflow_mlpipe.pipeline.production import Product, Production
    from airflow_mlpipe.pipeline.step_run import StepRun
    from airflow_mlpipe.reuse.decision import Decision, Policy
    from airflow_mlpipe.store.lease import Lease, LeaseRecord
    from airflow_mlpipe.store.manifest import Manifest


class StepOperator(OutputReuseSensor):
    """A sensor that runs the step itself when there is nothing to sense.

    Of all task instances that need the same outputs at once, in any run and DAG, one holds the lease and
    runs; the others wait as sensors do, and find its outputs.
    """

    ui_color = "#c3dcf3"

    _production: Production | None = None

    def poke(self, context: Any) -> PokeReturnValue:
        """Reuse, or run, or wait for somebody who runs the same."""
        # Imported here and below, each where it is first needed: every DAG file imports this module, and a
        # step that is reused needs nothing of what runs one.
        from airflow_mlpipe.pipeline.step_run import StepRun

        step = StepRun.of(self, context)
        policy = self._policy(step)
        sensing = step.sense(policy)
        if sensing.manifest is not None:
            return self._reuse(step, sensing.decision, sensing.manifest)
        held = self._take_lease(step, self._lease_of(step, policy))
        if held is None:
            return PokeReturnValue(False)
        lease, previous_attempt = held
        try:
            # Whoever held the lease before may have sealed between our look and our turn.
            sensing = step.sense(policy)
            if sensing.manifest is not None:
                return self._reuse(step, sensing.decision, sensing.manifest)
            self.log.info("%s", sensing.decision.sentence())
            with lease.keep_alive():
                return self._run(step, policy, sensing.decision, previous_attempt)
        finally:
            lease.release()

    def on_kill(self) -> None:
        """End the step's whole process tree, when the task is marked failed or takes too long."""
        if self._production is not None:
            self._production.terminate()
        super().on_kill()

    def _policy(self, step: StepRun) -> Policy:
        from airflow_mlpipe.pipeline.switch import reuse_mode
        from airflow_mlpipe.reuse.decision import Policy

        conf = step.context["dag_run"].conf
        mode = reuse_mode(conf)
        origin = "the run's configuration"
        if mode == "normal" and self.reuse.regenerate_outputs:
            mode, origin = "refresh", "regenerate_outputs"
        allowed = self.reuse.allow_reuse
        why_not = None
        if allowed is False:
            why_not = "allow_reuse is False"
        elif allowed is None and not step.preparation.binding.outputs:
            why_not = "the step declares no output, so it runs for its side effects"
        return Policy(mode, origin, why_not, step.max_age)

    def _lease_of(self, step: StepRun, policy: Policy) -> str:
        """What the lease is on: the fingerprint, or something of this task's own when nobody may share."""
        from airflow_mlpipe.reuse.canonical import digest

        fingerprint = step.preparation.fingerprint
        shared = policy.mode in ("normal", "refresh") and policy.why_not_allowed is None
        if shared and not step.preparation.undetermined:
            return fingerprint
        return digest(["private", fingerprint, step.identity.owner])

    def _take_lease(self, step: StepRun, on: str) -> tuple[Lease, str] | None:
        """The lease and the attempt of its last holder ("" for none); None while somebody holds it."""
        from airflow_mlpipe.store.lease import Leases
        from airflow_mlpipe.triggers.outputs import OutputsTrigger

        leases = Leases(step.datastore, duration=step.settings.lease_seconds)
        owner, attempt = step.identity.owner, step.identity.attempt
        while True:
            if (lease := leases.acquire(on, owner, attempt)) is not None:
                return lease, ""
            current = leases.current(on)
            if current is None:
                continue
            if not self._may_take(current, owner):
                self.log.info("%s: waiting for %s, which runs the same step", self.who, current.owner)
                self._trigger = OutputsTrigger.for_lease(step.datastore, on, self.poke_interval)
                return None
            if (lease := leases.take_over(on, current, owner, attempt)) is not None:
                return lease, current.attempt

    def _may_take(self, current: LeaseRecord, owner: str) -> bool:
        # Airflow runs one try of a task instance at a time: what it left behind is ours.
        return current.owner == owner or current.expired(time.time())

    def _run(
        self, step: StepRun, policy: Policy, decision: Decision, previous_attempt: str
    ) -> PokeReturnValue:
        from airflow_mlpipe.reuse.phrases import span
        from airflow_mlpipe.store.sealing import seal

        self._production = step.production()
        try:
            product = self._production.run(previous_attempt)
        finally:
            self._production = None
        why_not = self._why_not_sealed(step, policy, product)
        if why_not is not None:
            self.log.info("%s: its outputs are not kept for reuse: %s", self.who, why_not)
            return self._hand_on(step, decision, product.manifest, sealed=False)
        replace = policy.mode == "refresh" or policy.why_not_allowed is not None or self._is_repair(decision)
        sealed = seal(step.datastore, product.manifest, replace=replace)
        if sealed.producer.attempt == product.manifest.producer.attempt:
            self.log.info("%s: ran for %s, outputs sealed", self.who, span(sealed.seconds))
        elif policy.why_not_allowed is not None:
            # Another run's outputs are equally good, but this step is to hand on its own.
            return self._hand_on(step, decision, product.manifest, sealed=False)
        else:
            self.log.info("%s: %s was first to make the same outputs; those count", self.who, sealed.producer)
        return self._hand_on(step, decision, sealed, sealed=True)

    def _why_not_sealed(self, step: StepRun, policy: Policy, product: Product) -> str | None:
        if policy.mode in ("bypass", "read_only"):
            return f"the run's configuration says {policy.mode}"
        if step.preparation.undetermined:
            return step.preparation.undetermined[0]
        if product.changed_inputs:
            return product.changed_inputs[0]
        if product.unwritten:
            return f"output {product.unwritten[0]!r} was declared but not written"
        return None

    def _is_repair(self, decision: Decision) -> bool:
        return any(reason.kind in ("unusable", "too_old") for reason in decision.reasons)

    def _reuse(self, step: StepRun, decision: Decision, manifest: Manifest) -> PokeReturnValue:
        self.log.info("%s", decision.sentence())
        return self._hand_on(step, decision, manifest, sealed=True)
