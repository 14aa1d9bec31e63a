"""A machine that is reached by SSH."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from airflow_mlpipe.model.compute import ComputeTarget, Interpreter


class RemoteTarget(ComputeTarget):
    """A machine that is reached by SSH.

    ``ssh_conn_id`` is the Airflow connection (of type ``ssh``) that leads there. ``folder`` is a folder of
    the machine that the connection's user may write to, or make; each attempt has a folder of its own below.
    ``python`` is the interpreter there, 3.10 or newer, of steps and of what watches them.
    ``patience_seconds`` is how long a connection that is lost is tried again before the step is given up.
    """

    type: Literal["remote"] = "remote"
    ssh_conn_id: Annotated[str, Field(min_length=1)]
    folder: str = "~/.mlpipe"
    python: Interpreter = "python3"
    patience_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 300.0

    def __init__(self, name: str = "remote", **values: Any) -> None:
        super().__init__(name=name, **values)

    @field_validator("folder")
    @classmethod
    def _folder_is_a_place(cls, folder: str) -> str:
        if not folder.isprintable() or not folder.startswith(("/", "~/")) or folder.strip("/~.") == "":
            raise ValueError("folder is an absolute path of the machine, or one below '~/'")
        return folder.rstrip("/")
