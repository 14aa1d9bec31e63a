"""A Kubernetes cluster, asked from an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from airflow_mlpipe.model.pod_patch import STEP_CONTAINER
from airflow_mlpipe.targets.kubernetes.api_call import (
    NOT_FOUND,
    Answer,
    ApiCall,
    Query,
    Refusal,
    delete_pod,
    list_events,
    read_log,
    read_pod,
)
from airflow_mlpipe.targets.kubernetes.cluster import (
    ANSWER_SECONDS,
    CHUNK_BYTES,
    CONNECT_SECONDS,
    SILENCE_SECONDS,
)
from airflow_mlpipe.targets.kubernetes.persistence import Persistence
from airflow_mlpipe.targets.kubernetes.phases import Sighting


class AsyncCluster:
    """What :class:`~airflow_mlpipe.targets.kubernetes.cluster.Cluster` is, for a triggerer.

    *client* is an ``ApiClient`` of kubernetes_asyncio; *persistence* outlives it.
    """

    def __init__(self, client: Any, namespace: str, persistence: Persistence) -> None:
        self._client = client
        self._namespace = namespace
        self._persistence = persistence

    async def pod(self, name: str) -> Sighting | None:
        """The pod *name*, with what was told about it while it waits; None when there is none.

        Raises TargetError or InfrastructureError, as :meth:`delete` does.
        """
        try:
            answer = await self._ask(read_pod(self._namespace, name))
        except Refusal as refusal:
            if refusal.status == NOT_FOUND:
                return None
            raise refusal.error() from refusal
        sighting = Sighting(answer.document, answer.at)
        if sighting.stage in ("running", "ended"):
            return sighting
        return Sighting(answer.document, answer.at, await self._events(sighting.uid))

    async def delete(self, sighting: Sighting) -> None:
        """Have a pod end, within its own grace, and go; nothing happens when it is gone."""
        call = delete_pod(self._namespace, sighting.name, sighting.uid)
        try:
            await self._ask(call)
        except Refusal as refusal:
            if refusal.status != NOT_FOUND:
                raise refusal.error() from refusal

    async def log(self, pod: str, query: Query) -> AsyncIterator[bytes]:
        """The output of the pod's container as it comes; *query* says from where, and whether to follow it.

        Raises Refusal when it cannot be had, breaks off, or is silent for long.
        """
        call = read_log(self._namespace, pod, STEP_CONTAINER, query)
        async with self._response(call, SILENCE_SECONDS) as response:
            async for chunk in response.content.iter_chunked(CHUNK_BYTES):
                yield chunk

    async def _events(self, uid: str) -> list[dict[str, Any]] | None:
        try:
            return list((await self._ask(list_events(self._namespace, uid))).document.get("items") or ())
        except Refusal:
            return None  # they explain more, but not everybody may read them

    async def _ask(self, call: ApiCall) -> Answer:
        """As :meth:`~airflow_mlpipe.targets.kubernetes.cluster.Cluster.ask`."""
        while True:
            try:
                async with self._response(call, ANSWER_SECONDS) as response:
                    answer = Answer.of(call, await response.read(), response.headers.get("Date"))
            except Refusal as refusal:
                await asyncio.sleep(self._persistence.pause_after(refusal))
            else:
                self._persistence.succeeded(call)
                return answer

    @asynccontextmanager
    async def _response(self, call: ApiCall, silence: float) -> AsyncIterator[Any]:
        from aiohttp import ClientError, ClientTimeout

        try:
            timeout = ClientTimeout(sock_connect=CONNECT_SECONDS, sock_read=silence)
            response = await self._client.call_api(**call.arguments, _request_timeout=timeout)
            try:
                if response.status >= 300:
                    raise Refusal.of(call, response.status, await response.read())
                yield response
            finally:
                response.close()
        except (ClientError, asyncio.TimeoutError, OSError) as error:
            raise Refusal(call, 0, str(error) or type(error).__name__) from error
