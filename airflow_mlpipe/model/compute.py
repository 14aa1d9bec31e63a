"""Compute targets: where a step runs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator

from airflow_mlpipe.model.declaration import Declaration
from airflow_mlpipe.model.image_name import Image

Count = Annotated[int, Field(strict=True, ge=0)]
"""A field that counts something; no truth value, and no text."""


def _program(python: str) -> str:
    is_name = python != "" and "/" not in python and not python.startswith("-")
    if not python.isprintable() or not (is_name or python.startswith("/")):
        raise ValueError(
            f"{python!r} is no interpreter: write the name of one on the PATH there, or an absolute path"
        )
    return python


Interpreter = Annotated[str, AfterValidator(_program)]
"""A field that names a program for Python where the step runs."""


class ComputeTarget(Declaration):
    """What all targets have in common.

    ``pool`` and ``pool_slots`` are the Airflow pool that limits how many steps run there at once; ``queue``
    is the Airflow queue whose workers reach the target. A step's own arguments of these names win.
    ``max_nodes`` is how many steps run there at once, in all runs and deployments that share a datastore;
    unlike the slots of a pool, a step that is reused takes none. ``cost_per_hour`` is what a step there costs
    while it runs, in a currency of your choice.
    ``infrastructure_retries`` is how often a step is started anew, within one try of its task, when the
    target lost it: its machine was taken away, its pod evicted, its engine restarted.
    """

    type: str
    name: Annotated[str, Field(min_length=1)]
    pool: str | None = None
    pool_slots: Annotated[Count, Field(gt=0)] | None = None
    queue: str | None = None
    max_nodes: Annotated[Count, Field(gt=0, le=1000)] | None = None
    cost_per_hour: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    infrastructure_retries: Annotated[Count, Field(le=100)] = 0


class ContainerTarget(ComputeTarget):
    """A target that runs steps in containers.

    ``image`` is for steps whose environment names none. ``python`` is the interpreter in the image.
    """

    image: Image | None = None
    python: Interpreter = "python3"
    infrastructure_retries: Annotated[Count, Field(le=100)] = 3


class LocalTarget(ComputeTarget):
    """The machine of the Airflow worker: a process of its own, beside the worker's.

    ``python`` is the absolute path of the interpreter for steps without an environment of their own;
    default is the worker's.
    """

    type: Literal["local"] = "local"
    python: str | None = None

    def __init__(self, name: str = "local", **values: Any) -> None:
        super().__init__(name=name, **values)

    @field_validator("python")
    @classmethod
    def _python_is_absolute(cls, python: str | None) -> str | None:
        if python is not None and not python.startswith("/"):
            raise ValueError("python is the absolute path of an interpreter")
        return python
