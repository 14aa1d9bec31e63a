"""Failures of a store that pass by themselves: telling them from final ones, and trying again."""

from __future__ import annotations

import errno
import logging
import math
import random
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from airflow_mlpipe.errors import StoreError

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")

# Seconds before the second try and those after it. Drivers of object stores wait longer by themselves.
PAUSES = (0.1, 0.5, 1.0, 2.0, 4.0)

_ERROR_NUMBERS = {
    errno.EAGAIN,
    errno.EBUSY,
    errno.ECONNABORTED,
    errno.ECONNREFUSED,
    errno.ECONNRESET,
    errno.EHOSTUNREACH,
    errno.EINTR,
    errno.EIO,
    errno.ENETDOWN,
    errno.ENETRESET,
    errno.ENETUNREACH,
    errno.EPIPE,
    errno.ESTALE,
    errno.ETIMEDOUT,
}
_HTTP_STATUSES = {408, 425, 429, *range(500, 600)}
# By name, because the client libraries that define them are not ours to import.
_KINDS = {
    "ChunkedEncodingError",  # requests
    "ClientConnectionError",  # aiohttp
    "ClientPayloadError",  # aiohttp
    "ConnectionError",  # Python, botocore, requests
    "HTTPClientError",  # botocore
    "IncompleteReadError",  # Azure
    "ResponseParserError",  # botocore, for an answer that ends in the middle
    "ServiceRequestError",  # Azure
    "ServiceResponseError",  # Azure
    "Timeout",  # requests
    "TimeoutError",  # Python, asyncio before 3.11
    "TransportError",  # Google
}


def persistently(
    operation: Callable[[], Answer],
    pause: Callable[[float], object],
    *,
    within: float = math.inf,
    stopwatch: Callable[[], float] = time.monotonic,
) -> Answer:
    """What *operation* returns, called again and again for some seconds while it fails in passing.

    *pause* is given the seconds to wait between two tries; none begins later than *within* seconds after the
    first. Raises the StoreError of a final failure at once, and of a transient one in the end.
    """
    began = stopwatch()
    tries = Tries(pause)
    while True:
        try:
            return operation()
        except StoreError as error:
            if stopwatch() - began > within:
                raise
            tries.failed(error)


class Tries:
    """The tries of one operation; *pause* is given the seconds to wait between two of them."""

    def __init__(self, pause: Callable[[float], object]) -> None:
        self._pause = pause
        self._pauses = iter(PAUSES)

    def failed(self, error: StoreError) -> None:
        """Return when it is time for another try; raise *error* when there is to be none."""
        seconds = next(self._pauses, None)
        if seconds is None or not is_transient(error):
            raise error
        # Workers that failed together are not to come back together.
        seconds *= random.uniform(0.5, 1.5)  # noqa: S311 - no secret
        log.warning("%s; trying again in %.1f s", error, seconds)
        self._pause(seconds)


def is_transient(error: StoreError) -> bool:
    """Whether what caused *error* may be over in a moment: a lost connection, a time-out, a busy server."""
    return any(map(_passes, _causes(error)))


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause = error.__cause__
    while cause is not None:
        yield cause
        cause = cause.__cause__


def _passes(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno in _ERROR_NUMBERS:
        return True
    kinds = {kind.__name__ for kind in type(error).__mro__}
    return _http_status(error) in _HTTP_STATUSES or not kinds.isdisjoint(_KINDS)


def _http_status(error: Any) -> Any:
    """Where the client libraries of aiohttp, Azure, Google and botocore put the answer's status."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        return response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    statuses = (getattr(error, name, None) for name in ("status", "status_code", "code"))
    return next((status for status in statuses if isinstance(status, int)), None)
