"""Watching in the triggerer a step that runs in a pod, while no worker does."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_mlpipe.errors import MLPipeError, StoreError
from airflow_mlpipe.model.kubernetes_target import KubernetesTarget
from airflow_mlpipe.model.reference import ProducerReference
from airflow_mlpipe.pipeline.datastores import know_datastores
from airflow_mlpipe.pipeline.identity import TaskIdentity
from airflow_mlpipe.pipeline.resuming import task_may_resume
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.layout import copies_key
from airflow_mlpipe.store.lease import Lease, Leases
from airflow_mlpipe.store.run_record import RunRecords, RunStatus
from airflow_mlpipe.targets.kubernetes.api_call import Refusal
from airflow_mlpipe.targets.kubernetes.async_cluster import AsyncCluster
from airflow_mlpipe.targets.kubernetes.bookmark import Bookmark
from airflow_mlpipe.targets.kubernetes.log_stream import LogReader
from airflow_mlpipe.targets.kubernetes.names import pod_name
from airflow_mlpipe.targets.kubernetes.persistence import Persistence
from airflow_mlpipe.targets.kubernetes.phases import Patience, PhaseLog, patience_of
from airflow_mlpipe.triggers.finishing import finished

# A triggerer loads no DAG file that would say so.
know_datastores()

log = logging.getLogger(__name__)
step_log = logging.getLogger("airflow_mlpipe.step")

ASK_SECONDS = 2.0
BOOKMARK_SECONDS = 2.0
RENEWALS_PER_DURATION = 3

# Airflow waits 30 s for on_kill, then cancels it, which is waited for; and for an overdue step as long as its
# TRIGGER_SECONDS say.
END_SECONDS = 22.0
_PATIENCE_WHEN_ENDING_SECONDS = 18.0  # with an API that does not answer
# The first question makes a triggerer build the whole API in its own process: 15 s on a busy machine.
_TELL_SECONDS = 25.0
_CLEAR_SECONDS = 4.0


class AttemptTrigger(BaseTrigger):
    """Fires when a worker has to go on with an attempt, and shows its log until then.

    *cluster* has the fields of a ``ClusterAddress``, *patience* those of a ``Patience``. The records of
    *attempt* are in *datastore*, a URL. *leases* are what *owner* holds leases on for *follower*, the try of
    the task; they are renewed. *instance* are the fields of the task instance's ``ProducerReference``, and
    *try_number* is its try; their record is closed when the task is marked. At *deadline*, in seconds since
    the epoch, the pod is ended.

    The event is ``{"status": "look"}`` when the attempt is over or waits in vain, ``{"status": "overdue",
    "attempt": ...}`` after the deadline, and ``{"status": "unwatched", "message": ...}`` when the cluster, or
    what this triggerer needs to reach it, fails here; a worker may do better. So may it with an attempt that
    is overdue and could not be ended here.
    """

    def __init__(
        self,
        cluster: Mapping[str, Any],
        patience: Mapping[str, float],
        datastore: str,
        attempt: str,
        leases: Sequence[str],
        owner: str,
        follower: str,
        instance: Mapping[str, Any],
        try_number: int,
        deadline: float | None = None,
    ) -> None:
        super().__init__()
        self.cluster = dict(cluster)
        self.patience = dict(patience)
        self.datastore = datastore
        self.attempt = attempt
        self.leases = list(leases)
        self.owner = owner
        self.follower = follower
        self.instance = dict(instance)
        self.try_number = try_number
        self.deadline = deadline
        self._persistence = Persistence()
        self._hook: Any = None

    @classmethod
    def of(
        cls,
        target: KubernetesTarget,
        datastore: Datastore,
        attempt: str,
        leases: Sequence[str],
        identity: TaskIdentity,
    ) -> AttemptTrigger:
        """Watch *attempt*, which runs on *target* for the task instance *identity*."""
        from airflow_mlpipe.pipeline.compute.kubernetes import ClusterAddress

        cluster, patience = asdict(ClusterAddress.of(target)), asdict(patience_of(target))
        return cls(
            cluster,
            patience,
            datastore.url,
            attempt,
            leases,
            identity.owner,
            identity.attempt,
            identity.producer.model_dump(),
            identity.try_number,
        )

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """What the triggerer needs to make this trigger again."""
        names = (
            "cluster",
            "patience",
            "datastore",
            "attempt",
            "leases",
            "owner",
            "follower",
            "instance",
            "try_number",
            "deadline",
        )
        return f"{type(self).__module__}.{type(self).__qualname__}", {
            name: getattr(self, name) for name in names
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Watch the pod; stores answer synchronously, so they are asked off the event loop."""
        began = time.monotonic()
        renewing = [asyncio.create_task(self._keep_lease(lease)) for lease in self.leases]
        try:
            event = await self._event()
            await task_may_resume(began)
            yield TriggerEvent(event)
        finally:
            for task in renewing:
                task.cancel()
            await asyncio.gather(*renewing, return_exceptions=True)

    async def on_kill(self) -> None:
        """End the step, when its task was marked as failed or succeeded, or cleared.

        It takes END_SECONDS at the most once Airflow has told the task's state. A lease stays if that fails:
        who takes it over finds the attempt. Airflow 3.3 cancels the trigger once a second until it has ended,
        and with it this method: it goes on all the same, and is cancelled when it is over.
        """
        ending = asyncio.create_task(self._end_unless_deferred())
        try:
            await finished(ending)
        except asyncio.CancelledError:
            if ending.cancelled():  # by a triggerer that stops, which cancels every task once
                await finished(asyncio.create_task(self._end_unless_deferred()))
            raise

    async def _end_unless_deferred(self) -> None:
        """End the step. A task that is still deferred was given to another triggerer, which goes on with it.

        Airflow 3.3 calls ``on_kill`` then, too, in a triggerer that has stood still for so long that it was
        taken for dead.
        """
        states = await self._states()
        if "deferred" in states:
            log.info("Pod %s is left to another triggerer", pod_name(self.attempt))
        else:
            await self._end_and_clear(states)

    async def _end_and_clear(self, states: Collection[object] = ()) -> None:
        """End the step, whose task has *states*, and let nothing stay that nobody needs any more."""
        try:
            await asyncio.wait_for(self._end(states), END_SECONDS)
        except Exception as error:  # of the cluster, the store, a connection that is not known here, ...
            log.warning(
                "Pod %s may still be there, it could not be ended: %s", pod_name(self.attempt), _what(error)
            )
            return
        # A thread goes on when nobody waits for it any more, and has all the time that many copies take.
        await asyncio.wait({asyncio.create_task(self._clear())}, timeout=_CLEAR_SECONDS)

    async def _event(self) -> dict[str, Any]:
        seconds = None if self.deadline is None else max(0.0, self.deadline - time.time())
        try:
            return await asyncio.wait_for(self._watched(), seconds)
        except asyncio.TimeoutError:
            await finished(asyncio.create_task(self._end_and_clear()))
            return {"status": "overdue", "attempt": self.attempt}

    async def _watched(self) -> dict[str, Any]:
        try:
            await self._until_over()
        except Exception as error:  # of the store, the cluster, a connection that is not known here, ...
            return {"status": "unwatched", "message": _what(error)}
        return {"status": "look"}

    async def _until_over(self) -> None:
        """Return once the pod has ended, is gone, or waits in vain."""
        bookmark = Bookmark(await self._store(), self.attempt, self.follower)
        reader = LogReader(await asyncio.to_thread(bookmark.read))
        patience, phases = Patience(**self.patience), PhaseLog(time.monotonic)
        while True:
            async with self._reached(self._persistence) as cluster:
                sighting = await cluster.pod(pod_name(self.attempt))
                if sighting is None:
                    return
                if (sentence := phases.news(sighting)) is not None:
                    log.info("%s", sentence)
                if sighting.stage == "ended" or sighting.hopeless(patience) is not None:
                    return
                if sighting.stage == "running":
                    await self._show(cluster, reader, bookmark)
            await asyncio.sleep(ASK_SECONDS)

    async def _show(self, cluster: AsyncCluster, reader: LogReader, bookmark: Bookmark) -> None:
        """Log what the step prints, until the stream ends or breaks off."""

        async def keep_position() -> None:
            loop = asyncio.get_running_loop()
            await finished(loop.run_in_executor(None, bookmark.move, reader.position))

        kept_at = -BOOKMARK_SECONDS  # the first part may be long, it is all that was printed before
        try:
            async for chunk in cluster.log(pod_name(self.attempt), reader.query(follow=True)):
                for line in reader.feed(chunk):
                    step_log.info("%s", line)
                if time.monotonic() - kept_at >= BOOKMARK_SECONDS:
                    await keep_position()
                    kept_at = time.monotonic()
        except Refusal as refusal:
            log.debug("The log of pod %s broke off: %s", pod_name(self.attempt), refusal)
        finally:
            await keep_position()

    async def _end(self, states: Collection[object]) -> None:
        """Delete the pod, let others have the leases, and record how the step has ended."""
        if await self._is_followed_by_others():
            log.info("Pod %s is left to who has taken its lease over", pod_name(self.attempt))
            return
        async with self._reached(Persistence(_PATIENCE_WHEN_ENDING_SECONDS)) as cluster:
            if (sighting := await cluster.pod(pod_name(self.attempt))) is not None:
                await cluster.delete(sighting)
        for name in self.leases:
            if (lease := await self._resumed(name)) is not None:
                await asyncio.to_thread(lease.release)
        records, instance = RunRecords(await self._store()), ProducerReference(**self.instance)
        is_marked = any(state in ("success", "skipped") for state in states)
        status: RunStatus = "marked" if is_marked else "failed"
        await asyncio.to_thread(records.end, instance, self.try_number, status, time.time())

    async def _clear(self) -> None:
        """Take away the inputs that were copied for the attempt; nothing needs them any more."""
        try:
            await asyncio.to_thread((await self._store()).delete_tree, copies_key(self.attempt))
        except StoreError as error:
            log.warning("The copies of inputs of attempt %s could not be removed: %s", self.attempt, error)

    async def _states(self) -> Collection[object]:
        """The states in which Airflow has the task; none when it does not tell."""
        task = ProducerReference(**self.instance)
        try:
            return await asyncio.wait_for(asyncio.to_thread(_states_of, task), _TELL_SECONDS)
        except Exception as error:  # of the connection to the API server
            log.warning("Airflow does not tell the state of %s: %s", task, _what(error))
            return ()

    async def _is_followed_by_others(self) -> bool:
        """Whether who has taken the step's lease over goes on with this attempt."""
        leases = Leases(await self._store())
        record = await asyncio.to_thread(leases.current, self.leases[0]) if self.leases else None
        if record is None or record.attempt == self.follower:
            return False
        return self.follower in record.document.previous_attempts

    async def _keep_lease(self, name: str) -> None:
        """Renew a lease for as long as it is ours."""
        while True:
            try:
                lease = await self._resumed(name)
                if lease is None:
                    log.warning("A lease of attempt %s is not its own any more", self.attempt)
                    return
                while await asyncio.to_thread(lease.renew):
                    await asyncio.sleep(lease.record.duration / RENEWALS_PER_DURATION)
                return
            except MLPipeError as error:
                log.warning("A lease of attempt %s was not renewed: %s", self.attempt, error)
            await asyncio.sleep(ASK_SECONDS)

    async def _resumed(self, name: str) -> Lease | None:
        leases = Leases(await self._store())
        return await asyncio.to_thread(leases.resumed, name, self.owner, self.follower)

    async def _store(self) -> Datastore:
        return await asyncio.to_thread(Datastore.open, self.datastore)

    @contextlib.asynccontextmanager
    async def _reached(self, persistence: Persistence) -> AsyncIterator[AsyncCluster]:
        """The cluster, by a client of its own each time: the credentials of some last for minutes."""
        from airflow_mlpipe.pipeline.compute.kubernetes import ClusterAddress

        address = ClusterAddress(**self.cluster)
        if self._hook is None:
            self._hook = await asyncio.to_thread(address.async_hook)
        async with self._hook.get_conn() as client:
            yield AsyncCluster(client, address.namespace, persistence)


def _states_of(task: ProducerReference) -> Collection[object]:
    """The states in which Airflow has an instance of a task; not for the event loop, which it would stop."""
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    states = RuntimeTaskInstance.get_task_states(
        dag_id=task.dag_id, map_index=task.map_index, task_ids=[task.task_id], run_ids=[task.run_id]
    )
    return list(states.get(task.run_id, {}).values())


def _what(error: Exception) -> str:
    return str(error) or type(error).__name__
