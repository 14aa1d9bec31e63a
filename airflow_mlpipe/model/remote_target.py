"""A machine that is reached by SSH."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from airflow_mlpipe.model.compute import ComputeTarget, Interpreter, Name, Quantity


class RemoteTarget(ComputeTarget):
    """A machine that is reached by SSH.

    ``ssh_conn_id`` is the Airflow connection (of type ``ssh``) that leads there. ``folder`` is a folder of
    the machine that the connection's user may write to, or make; each attempt has a folder of its own below.
    ``python`` is the interpreter there, 3.10 or newer, of steps and of what watches them.
    ``patience_seconds`` is how long a connection that is lost is tried again before the step is given up.
    """

    type: Literal["remote"] = "remote"
    ssh_conn_id: Name
    folder: str = "~/.mlpipe"
    python: Interpreter = "python3"
    patience_seconds: Annotated[Quantity, Field(gt=0)] = 300.0

    def __init__(self, name: str = "remote", **values: Any) -> None:
        super().__init__(name=name, **values)

    @field_validator("folder")
    @classmethod
    def _folder_is_a_place(cls, folder: str) -> str:
        is_plain = folder.isprintable() and folder == folder.strip() and ".." not in folder.split("/")
        if not is_plain or not folder.startswith(("/", "~/")) or folder.strip("/~.") == "":
            raise ValueError(
                f"{folder!r} is no folder for attempts: write an absolute path of the machine, or one below "
                "'~/', without '..'"
            )
        return folder.rstrip("/")
