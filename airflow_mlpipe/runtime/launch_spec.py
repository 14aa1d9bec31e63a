"""The spec of the attempt that this process belongs to, which its environment names."""

from __future__ import annotations

import os
from pathlib import Path

from airflow_mlpipe.errors import DocumentError
from airflow_mlpipe.records import SPEC_VARIABLE, LaunchSpec, from_json


def launch_spec() -> LaunchSpec | None:
    """The spec of this process's attempt; None outside a pipeline.

    Raises DocumentError when the process was told of one that cannot be read.
    """
    if not (path := os.environ.get(SPEC_VARIABLE)):
        return None
    try:
        return from_json(LaunchSpec, Path(path).read_bytes())
    except OSError as error:
        raise DocumentError(
            f"{SPEC_VARIABLE} names {path!r}, which cannot be read: {error}; "
            "unset it to run outside a pipeline"
        ) from error
