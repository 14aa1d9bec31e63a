"""Whose failure it is when the carrier cannot do its work, as its last line and its exit code tell it.

::

    mlpipe-carrier: infrastructure: ...    70    the machine, the network, the datastore: another try may help
    mlpipe-carrier: target: ...            71    the image, the rights, the room that the target gives
    mlpipe-carrier: user: ...              72    what the step left
"""

from __future__ import annotations

import errno
from collections.abc import Iterator

from airflow_mlpipe.errors import DocumentError, InfrastructureError, StepError, TargetError, UserError

EXIT_CODES: dict[type[StepError], int] = {InfrastructureError: 70, TargetError: 71, UserError: 72}
_NAMES: dict[type[StepError], str] = {
    InfrastructureError: "infrastructure",
    TargetError: "target",
    UserError: "user",
}

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT}
_FORBIDDEN = {401, 403}


def told(error: StepError) -> str:
    """The sentence that tells *error*: its class and message."""
    return f"{_NAMES[type(error)]}: {error}"


def classed(error: Exception) -> StepError:
    """*error* as the kind of StepError that it is: most failures of a datastore pass, some do not."""
    if isinstance(error, (UserError, TargetError, InfrastructureError)):
        return error
    causes = list(_causes(error))
    if any(isinstance(cause, ImportError) for cause in causes):
        return TargetError(
            f"{error}: install fsspec and the driver in the image that the step runs in; on Kubernetes, "
            "driver_image can bring them"
        )
    if any(isinstance(cause, OSError) and cause.errno in _NO_ROOM for cause in causes):
        return TargetError(f"{error}; give the step more disk space")
    if any(isinstance(cause, PermissionError) or _status(cause) in _FORBIDDEN for cause in causes):
        return TargetError(f"{error}; give the step's user, or the credentials that it has, these rights")
    if isinstance(error, DocumentError):
        return TargetError(f"{error}; see whether worker and datastore are of the same version")
    return InfrastructureError(str(error) or type(error).__name__)


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__


def _status(error: BaseException) -> object:
    """The HTTP status that the client libraries of object stores put into their errors."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        return response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return getattr(error, "status", None) or getattr(error, "status_code", None)
