"""A Kubernetes cluster, asked from an event loop."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from airflow_mlpipe.model.pod_patch import STEP_CONTAINER
from airflow_mlpipe.targets.kubernetes.api_call import (
    NOT_FOUND,
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
    server_time,
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
            document, at = await self._ask(read_pod(self._namespace, name))
        except Refusal as refusal:
            if refusal.status == NOT_FOUND:
                return None
            raise refusal.error() from refusal
        sighting = Sighting(document, at)
        if sighting.stage in ("running", "ended"):
            return sighting
        try:
            events, _ = await self._ask(list_events(self._namespace, sighting.uid))
        except Refusal:
            return sighting
        return Sighting(document, at, events.get("items") or ())

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
        async with self._answer(call, SILENCE_SECONDS) as response:
            async for chunk in response.content.iter_chunked(CHUNK_BYTES):
                yield chunk

    async def _ask(self, call: ApiCall) -> tuple[dict[str, Any], float]:
        """The answer, and when it was given by the server's clock, in seconds since the epoch."""
        while True:
            try:
                async with self._answer(call, ANSWER_SECONDS) as response:
                    document, date = json.loads(await response.read()), response.headers.get("Date")
                self._persistence.succeeded(call)
                return document, server_time(date)
            except ValueError as error:
                pause = self._persistence.pause_after(Refusal(call, 0, f"what it sent is no JSON: {error}"))
            except Refusal as refusal:
                pause = self._persistence.pause_after(refusal)
            await asyncio.sleep(pause)

    @asynccontextmanager
    async def _answer(self, call: ApiCall, silence: float) -> AsyncIterator[Any]:
        from aiohttp import ClientError, ClientTimeout

        try:
            response = await self._client.call_api(
                call.path,
                call.method,
                {},
                list(call.query),
                call.headers,
                body=call.body,
                auth_settings=["BearerToken"],
                _preload_content=False,
                _return_http_data_only=True,
                _request_timeout=ClientTimeout(sock_connect=CONNECT_SECONDS, sock_read=silence),
            )
            try:
                if response.status >= 300:
                    raise Refusal.of(call, response.status, await response.read())
                yield response
            finally:
                response.close()
        except (ClientError, asyncio.TimeoutError, OSError) as error:
            raise Refusal(call, 0, str(error) or type(error).__name__) from error
