from __future__ import annotations

import asyncio
import errno
import logging
import os
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.store.transient import PAUSES, is_transient, persistently
from tests.unit.store.faulty import caused_by, lost_connection


def number(code: int) -> OSError:
    return OSError(code, os.strerror(code))


def status(**fields: Any) -> Exception:
    error = Exception("the server answered")
    error.__dict__.update(fields)
    return error


def of_kind(name: str, base: type[Exception] = Exception) -> Exception:
    """An error as a client library defines it, which cannot be imported here."""
    kind: type[Exception] = type(name, (base,), {})
    return kind()


@pytest.mark.parametrize(
    "cause",
    [
        TimeoutError(),
        asyncio.TimeoutError(),
        ConnectionRefusedError(),
        *(
            number(code)
            for code in (errno.EIO, errno.ESTALE, errno.EBUSY, errno.ETIMEDOUT, errno.ENETUNREACH)
        ),
        status(status=503),
        status(status_code=429),
        status(code=500),
        status(response={"ResponseMetadata": {"HTTPStatusCode": 502}}),
        status(response=SimpleNamespace(text=""), status_code=504),
        of_kind("EndpointConnectionError", type("ConnectionError", (Exception,), {})),
        of_kind("ServerDisconnectedError", type("ClientConnectionError", (Exception,), {})),
        of_kind("ClientPayloadError"),
        of_kind("IncompleteReadError"),
    ],
    ids=repr,
)
def test_what_may_be_over_in_a_moment_is_transient(cause: Exception) -> None:
    assert is_transient(caused_by(cause))


@pytest.mark.parametrize(
    "cause",
    [
        FileNotFoundError(errno.ENOENT, "gone"),
        PermissionError(errno.EACCES, "denied"),
        *(number(code) for code in (errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.ENAMETOOLONG)),
        status(status=404),
        status(status_code=403),
        status(code="AccessDenied"),
        status(response={"Error": {}}),
        ValueError("a mistake"),
    ],
    ids=repr,
)
def test_what_stays_as_it_is_is_final(cause: Exception) -> None:
    assert not is_transient(caused_by(cause))


def test_an_error_without_a_cause_is_final() -> None:
    assert not is_transient(StoreError("there is nothing to download"))


def test_a_cause_may_lie_deeper() -> None:
    outer = OSError("the driver's own words")
    outer.__cause__ = number(errno.ETIMEDOUT)
    assert is_transient(caused_by(outer))


def failing(times: int, error: StoreError) -> Any:
    """An operation that fails so often, and then answers how often it was called."""
    calls = 0

    def operation() -> int:
        nonlocal calls
        calls += 1
        if calls <= times:
            raise error
        return calls

    return operation


def test_a_transient_failure_is_tried_again_with_growing_pauses_and_a_line_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pauses: list[float] = []
    with caplog.at_level(logging.WARNING):
        assert persistently(failing(5, lost_connection("read", "a")), pauses.append) == 6
    for pause, planned in zip(pauses, PAUSES, strict=True):
        assert 0.5 * planned <= pause <= 1.5 * planned
    assert caplog.messages[0].startswith(
        "cannot read a: [Errno 104] Connection reset by peer; check the network"
    )
    assert caplog.messages[0].endswith(f"trying again in {pauses[0]:.1f} s")
    assert len(caplog.messages) == 5


def test_a_failure_that_does_not_pass_is_raised_in_the_end() -> None:
    pauses: list[float] = []
    error = lost_connection("read", "a")
    with pytest.raises(StoreError) as raised:
        persistently(failing(6, error), pauses.append)
    assert raised.value is error
    assert len(pauses) == len(PAUSES)


def test_a_final_failure_is_raised_at_once() -> None:
    pauses: list[float] = []
    with pytest.raises(StoreError, match="denied"):
        persistently(failing(1, caused_by(PermissionError(errno.EACCES, "denied"))), pauses.append)
    assert pauses == []


def test_no_try_begins_when_the_time_is_up() -> None:
    now = iter([0.0, 20.0, 40.0])  # each try waits twenty seconds for a server that is silent
    tries = failing(6, lost_connection("read", "a"))
    with pytest.raises(StoreError):
        persistently(tries, lambda seconds: None, within=30.0, stopwatch=lambda: next(now))
    assert next(now, None) is None
