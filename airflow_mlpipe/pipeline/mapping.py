"""Mapped steps: how they take part in the dataflow while the DAG is parsed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import attrs
from airflow.sdk.bases.operator import get_merged_defaults
from airflow.sdk.definitions.mappedoperator import MappedOperator, OperatorPartial

from airflow_mlpipe.model.entry import Script
from airflow_mlpipe.model.environment import check_environment
from airflow_mlpipe.pipeline import bundle, catalog
from airflow_mlpipe.pipeline.arguments import check_arguments
from airflow_mlpipe.pipeline.assets import outlets_of
from airflow_mlpipe.pipeline.dataflow import Dataflow
from airflow_mlpipe.pipeline.expansion import check_expansion
from airflow_mlpipe.pipeline.parameters import bind_parameters


class MappedStep(MappedOperator):
    """A mapped step, which is checked like any other when all of the DAG file is read."""

    def resolve_template_files(self) -> None:
        super().resolve_template_files()
        if self.dag is not None:
            flow, who = Dataflow.of(self.dag), f"step {self.task_id!r}"
            flow.check(self.task_id)
            outlets = self.partial_kwargs.get("outlets") or ()
            self.partial_kwargs["outlets"] = outlets_of(flow.made_by(self.task_id), outlets, who)


@attrs.define(kw_only=True, repr=False)
class PartialStep(OperatorPartial):
    """What ``.partial()`` of a step returns: its ``.expand()`` enters the mapped step into the dataflow.

    ``given`` are the names of the arguments that the author gave; Airflow has added defaults of its own.
    """

    given: frozenset[str]

    @classmethod
    def of(cls, partial: OperatorPartial, given: Collection[str]) -> PartialStep:
        """Take over what Airflow has made of the arguments."""
        partial._expand_called = True  # its successor is the one that warns when expand() is forgotten
        return cls(
            operator_class=partial.operator_class,
            kwargs=partial.kwargs,
            params=partial.params,
            given=frozenset(given),
        )

    def _expand(self, expand_input: Any, *, strict: bool) -> MappedOperator:
        operator = super()._expand(expand_input, strict=strict)
        place(operator, expand_input.value, self.given)
        # Airflow makes the object; only its last checks are ours.
        operator.__class__ = MappedStep
        self._check(operator, expand_input.value)
        if operator.dag is not None:
            mapped = expand_input.value
            given = [self.kwargs.get("arguments", ()), mapped]
            inputs = self.kwargs.get("inputs", ())
            Dataflow.of(operator.dag).join(
                operator.dag,
                operator.task_id,
                arguments=given,
                inputs=inputs,
                outputs=self.kwargs.get("outputs", ()),
            )
            bind_parameters(operator.dag, operator, self.kwargs.get("arguments", ()))
        return operator

    def _check(self, operator: MappedOperator, mapped: Any) -> None:
        """What a step checks of itself, as far as it is known before the mapping is."""
        who = f"step {operator.task_id!r}"
        check_expansion(mapped, who)
        check_mapped_environment(operator, mapped)
        check_arguments(self.kwargs.get("arguments", ()), who)
        expanded = mapped.get("arguments", ()) if isinstance(mapped, Mapping) else ()
        for arguments in expanded if isinstance(expanded, (list, tuple)) else ():
            check_arguments(arguments, who)
        directory, entry = self.kwargs.get("source_directory", "."), self.kwargs.get("entry")
        script_name = entry.script_name if isinstance(entry, Script) else self.kwargs.get("script_name")
        is_mapped = isinstance(mapped, Mapping) and "source_directory" in mapped
        if operator.dag is None or directory is None or is_mapped:
            return
        found = bundle.source_directory(operator.dag, directory, who)
        if script_name is not None:
            bundle.script(found, script_name, who)


def place(operator: MappedOperator, mapped: Any, given: Collection[str]) -> None:
    """Let the target of a mapped step say what the scheduler is to know, less the arguments *given*.

    Where the target may be among what is *mapped*, none is known. Raises DefinitionError.
    """
    if "compute_target" not in operator.partial_kwargs and _may_give(mapped, "compute_target"):
        return
    target = catalog.compute_target(_known_arguments(operator).get("compute_target"))
    placed = operator.operator_class.placed_by(target)  # type: ignore[attr-defined]  # a step's class
    operator.partial_kwargs.update({name: value for name, value in placed.items() if name not in given})


def check_mapped_environment(operator: MappedOperator, mapped: Any) -> None:
    """Raise DefinitionError when the target of a mapped step cannot offer its environment.

    *mapped* is what of the step's own arguments ``expand()`` or ``expand_kwargs()`` gives. Where that may be
    the target or the environment, each instance is checked when it runs.
    """
    given = operator.partial_kwargs
    if any(name not in given and _may_give(mapped, name) for name in ("environment", "compute_target")):
        return
    known = _known_arguments(operator)
    environment = catalog.environment(known.get("environment"))
    target = catalog.compute_target(known.get("compute_target"))
    check_environment(environment, target, f"step {operator.task_id!r}")


def _known_arguments(operator: MappedOperator) -> dict[str, Any]:
    """The arguments of a mapped task that are not mapped; what DAG and task groups say for all counts."""
    defaults, _ = get_merged_defaults(operator.dag, operator.task_group, None, None)
    return {**defaults, **operator.partial_kwargs}


def _may_give(mapped: Any, name: str) -> bool:
    """Whether the argument *name* may be among what is *mapped*: lists by name, or a list of dicts."""
    if isinstance(mapped, Mapping):
        return name in mapped
    if not isinstance(mapped, (list, tuple)):
        return True
    return any(_may_give(item, name) for item in mapped)
