"""Compute targets: where a step runs."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator

from airflow_mlpipe.model.declaration import Declaration
from airflow_mlpipe.model.image_name import Image

Count = Annotated[int, Field(strict=True, ge=0)]
"""A field that counts something; no truth value, and no text."""


def _name(text: str) -> str:
    if not text or not text.isprintable() or text != text.strip():
        raise ValueError(f"{text!r} is no name: write at least one character, and no spaces around it")
    return text


Name = Annotated[str, AfterValidator(_name)]
"""A field that names something of Airflow's or of the author's."""

Quantity = Annotated[float, Field(strict=True, allow_inf_nan=False)]
"""A field that measures something; no truth value, and no text."""


def _program(python: str) -> str:
    is_name = python != "" and not re.search(r"[/\s]", python) and not python.startswith("-")
    is_path = python.startswith("/") and not python.endswith("/")
    if not python.isprintable() or not (is_name or is_path):
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
    name: Name
    pool: Name | None = None
    pool_slots: Annotated[Count, Field(gt=0)] | None = None
    queue: Name | None = None
    max_nodes: Annotated[Count, Field(gt=0, le=1000)] | None = None
    cost_per_hour: Annotated[Quantity, Field(ge=0)] | None = None
    infrastructure_retries: Annotated[Count, Field(le=100)] = 0

    @property
    def task_arguments(self) -> dict[str, Any]:
        """What Airflow's scheduler is to know of a task there: ``pool``, ``pool_slots``, ``queue``."""
        chosen = {"pool": self.pool, "pool_slots": self.pool_slots, "queue": self.queue}
        return {name: value for name, value in chosen.items() if value is not None}


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
    python: Interpreter | None = None

    def __init__(self, name: str = "local", **values: Any) -> None:
        super().__init__(name=name, **values)

    @field_validator("python")
    @classmethod
    def _python_is_absolute(cls, python: str | None) -> str | None:
        if python is not None and not python.startswith("/"):
            raise ValueError(f"{python!r} is a name; write the absolute path of the interpreter")
        return python
