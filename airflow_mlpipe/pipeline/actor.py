"""Who acts, for the records of what was done by hand or by a task."""

from __future__ import annotations

import getpass
import os

from airflow_mlpipe.pipeline.identity import TaskIdentity


def person() -> str:
    """The user of this process."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a user without a name
        return f"user {os.getuid()}"


def task_or_person() -> str:
    """The task instance that runs in this process, else its user."""
    from airflow.sdk import get_current_context

    try:
        context = get_current_context()
    except RuntimeError:
        return person()
    return str(TaskIdentity.of(context).producer)
