"""A step that calls a Python function."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, ClassVar

from airflow.sdk.bases.decorator import DecoratedOperator

from airflow_mlpipe.errors import DefinitionError
from airflow_mlpipe.model.data import PipelineData
from airflow_mlpipe.model.entry import Function
from airflow_mlpipe.operators.step import StepOperator
from airflow_mlpipe.pipeline.functions.call import FunctionCall
from airflow_mlpipe.pipeline.functions.shipping import shipped
from airflow_mlpipe.pipeline.functions.signature import FunctionSignature


class FunctionStep(DecoratedOperator, StepOperator):
    """Call a Python function in a process of its own, or reuse what an earlier call of it made.

    It is made by :func:`~airflow_mlpipe.decorators.step.step`. ``unroll`` is the author's word on whether
    what is returned unrolls into results of their own, None for none. A step without ``source_directory``
    has no files but its code.

    All other parameters are those of :class:`~airflow_mlpipe.sensors.output_reuse.OutputReuseSensor`.
    """

    template_fields: Sequence[str] = ("op_args", "op_kwargs", "environment_variables")
    template_fields_renderers: ClassVar[dict[str, str]] = {
        "op_args": "py",
        "op_kwargs": "py",
        "environment_variables": "json",
    }
    custom_operator_name = "@task.mlpipe"

    def __init__(
        self,
        *,
        python_callable: Callable[..., Any],
        task_id: str,
        op_args: Collection[Any] | None = None,
        op_kwargs: Mapping[str, Any] | None = None,
        unroll: bool | None = None,
        source_directory: str | None = None,
        **kwargs: Any,
    ) -> None:
        who = f"step {task_id!r}"
        self.signature, entry = read_function(python_callable, who, unroll)
        # Airflow decides with this whether the return value must be a dict, which it need not be.
        kwargs["multiple_outputs"] = False
        self._call(python_callable, op_args or (), op_kwargs or {}).check()
        super().__init__(
            python_callable=python_callable,
            task_id=task_id,
            op_args=op_args,
            op_kwargs=op_kwargs,
            entry=entry,
            outputs=[PipelineData(name) for name in self.signature.outputs],
            source_directory=source_directory,
            **kwargs,
        )

    @property
    def call(self) -> FunctionCall:
        """The call, as far as templates are rendered."""
        return self._call(self.python_callable, self.op_args, self.op_kwargs)

    def _call(
        self, function: Callable[..., Any], positional: Collection[Any], named: Mapping[str, Any]
    ) -> FunctionCall:
        self.signature.check_names(named)
        try:
            values = inspect.signature(function).bind_partial(*positional, **named).arguments
        except TypeError as error:
            known = ", ".join(self.signature.parameters) or "none"
            raise DefinitionError(
                f"{self.signature.who} cannot be called like that: {error}; its parameters are: {known}"
            ) from None
        self.signature.check_complete(values)
        return FunctionCall(self.signature, values)


@functools.lru_cache(maxsize=4096)
def read_function(
    function: Callable[..., Any], who: str, unroll: bool | None
) -> tuple[FunctionSignature, Function]:
    """The signature of *function* and what is shipped of it. Raises DefinitionError."""
    code = shipped(function, who)
    signature = FunctionSignature.of(
        inspect.unwrap(function), who, multiple_outputs=unroll, returns_value=code.returns_value
    )
    returns = signature.returns
    entry = Function(
        name=code.name,
        source=code.source,
        returns=returns.kind != "nothing",
        unrolls=returns.unrolls,
        fields=returns.fields,
    )
    return signature, entry
