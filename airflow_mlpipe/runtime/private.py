"""What is handed to the first process of an attempt, and to nothing that it starts unasked."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from airflow_mlpipe.errors import DocumentError
from airflow_mlpipe.records import PRIVATE_VARIABLE, Private, from_json

NOTHING = Private()


def take_private() -> Private:
    """What the file that PRIVATE_VARIABLE names holds; the file and the variable are gone afterwards.

    Nothing when no file is named. A file that may not be removed, such as that of a Kubernetes Secret, stays.
    Raises DocumentError when it cannot be read.
    """
    named = os.environ.pop(PRIVATE_VARIABLE, None)
    if named is None:
        return NOTHING
    path = Path(named)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DocumentError(f"{PRIVATE_VARIABLE} names {named!r}, which cannot be read: {error}") from error
    with contextlib.suppress(OSError):
        path.unlink()
    return from_json(Private, content)
