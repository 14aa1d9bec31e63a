"""Compute targets: where a step runs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from airflow_mlpipe.model.declaration import Declaration
from airflow_mlpipe.model.image_name import Image


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
    name: str
    pool: str | None = None
    pool_slots: Annotated[int, Field(gt=0)] | None = None
    queue: str | None = None
    max_nodes: Annotated[int, Field(gt=0, le=1000)] | None = None
    cost_per_hour: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    infrastructure_retries: Annotated[int, Field(ge=0, le=100)] = 0


class ContainerTarget(ComputeTarget):
    """A target that runs steps in containers.

    ``image`` is for steps whose environment names none. ``python`` is the interpreter in the image.
    """

    image: Image | None = None
    python: str = "python3"
    infrastructure_retries: Annotated[int, Field(ge=0, le=100)] = 3


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
