"""``@step`` and ``@task.mlpipe``: a Python function as a step."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, overload

import attr
from airflow.sdk.bases.decorator import DecoratedMappedOperator, _TaskDecorator
from airflow.sdk.definitions._internal.expandinput import is_mappable
from airflow.sdk.definitions.mappedoperator import validate_mapping_kwargs

from airflow_mlpipe.decorators.result import StepXComArg
from airflow_mlpipe.errors import DefinitionError
from airflow_mlpipe.model.data import PipelineData
from airflow_mlpipe.operators.function import FunctionStep, read_function
from airflow_mlpipe.pipeline import bundle
from airflow_mlpipe.pipeline.dataflow import Dataflow
from airflow_mlpipe.pipeline.expansion import check_expansion
from airflow_mlpipe.pipeline.functions.call import FunctionCall
from airflow_mlpipe.pipeline.functions.shipping import makes_steps
from airflow_mlpipe.pipeline.functions.signature import FunctionSignature, without_outputs
from airflow_mlpipe.pipeline.mapping import check_mapped_environment, place
from airflow_mlpipe.pipeline.parameters import bind_parameters

if TYPE_CHECKING:
    from airflow.sdk import XComArg
    from typing_extensions import Unpack

    from airflow_mlpipe.decorators.options import StepOptions
    from airflow_mlpipe.decorators.typing import P, R, StepFunction


_DOCS = frozenset({"doc", "doc_json", "doc_md", "doc_rst", "doc_yaml"})
_OF_SCRIPTS = ("arguments", "inputs", "outputs", "entry")


class MappedFunctionStep(DecoratedMappedOperator):
    """A mapped step, which is checked like any other when all of the DAG file is read."""

    def resolve_template_files(self) -> None:
        super().resolve_template_files()
        if self.dag is not None:
            Dataflow.of(self.dag).check(self.task_id)


class StepDecorator(_TaskDecorator):  # type: ignore[type-arg]
    """A function that makes steps: calling it, or expanding it, adds one to the DAG."""

    def __call__(self, *args: Any, **kwargs: Any) -> XComArg:
        self._signature.check_names(kwargs)
        return StepXComArg.of(super().__call__(*args, **kwargs), self._signature)

    def override(self, **kwargs: Any) -> Any:
        """The same function with other options."""
        return super().override(**_options(kwargs))

    def check_mapped(self, mapped: Any) -> None:
        """Raise DefinitionError for what cannot be mapped over: lists by parameter, or a list of dicts."""
        _check_mapped(self._signature, self.kwargs.get("op_kwargs", {}), mapped)

    @property
    def _signature(self) -> FunctionSignature:
        for keyword in _OF_SCRIPTS:
            if keyword in self.kwargs:
                raise DefinitionError(
                    f"{self._who}: {keyword} is a keyword of steps that start a script; a function has "
                    "parameters in place of arguments and inputs, and annotates an output as Output[Path]"
                )
        return read_function(self.function, self._who, self.kwargs.get("unroll"))[0]

    @property
    def _who(self) -> str:
        return f"step {self.kwargs['task_id']!r}"

    def _validate_arg_names(self, func: Any, kwargs: dict[str, Any]) -> None:
        self._signature.check_names(kwargs, f"is given in {func}()")
        for name, value in kwargs.items():
            if func == "expand" and not is_mappable(value):
                raise DefinitionError(
                    f"{self._who} is expanded over {name}={value!r}; expand() takes lists, dicts and what a "
                    "step returned: pass what is the same for all by partial()"
                )
        super()._validate_arg_names(func, kwargs)

    def _expand(self, expand_input: Any, *, strict: bool) -> XComArg:
        signature = self._signature
        fixed, mapped = self.kwargs.get("op_kwargs", {}), expand_input.value
        validate_mapping_kwargs(self.operator_class, "partial", self.kwargs)
        _check_mapped(signature, fixed, mapped)
        check_expansion(mapped, self._who)
        described = {"doc_md": self.function.__doc__} if _DOCS.isdisjoint(self.kwargs) else {}
        documented = attr.evolve(self, kwargs={**described, **self.kwargs})
        result = super(StepDecorator, documented)._expand(expand_input, strict=strict)
        operator: Any = result.operator  # type: ignore[attr-defined]  # of a plain XComArg, which it is
        operator.__class__ = MappedFunctionStep  # Airflow makes the object; only its last checks are ours
        # What is mapped are parameters of the function.
        place(operator, {}, self.kwargs)
        check_mapped_environment(operator, {})
        if operator.dag is not None:
            self._join(operator, signature, [fixed, mapped])
        return StepXComArg.of(result, signature)

    def _join(self, operator: Any, signature: FunctionSignature, values: list[Any]) -> None:
        """Let a mapped step take part in the DAG's dataflow and parameters."""
        Dataflow.of(operator.dag).join(
            operator.dag,
            operator.task_id,
            arguments=(),
            inputs=values,
            outputs=[PipelineData(name) for name in signature.outputs],
        )
        parameters = FunctionCall(signature, {"fixed": values[0], "mapped": values[1]}).parameters
        bind_parameters(operator.dag, operator, parameters)
        if (directory := self.kwargs.get("source_directory")) is not None:
            bundle.source_directory(operator.dag, directory, self._who)


@overload
def step(python_callable: Callable[P, R], /) -> StepFunction[P, R]: ...


@overload
def step(**options: Unpack[StepOptions]) -> Callable[[Callable[P, R]], StepFunction[P, R]]: ...


def step(
    python_callable: Callable[..., Any] | None = None,
    **options: Any,
) -> Any:
    """Make a Python function a step.

    ``@step`` and ``@step(...)`` both do; the keywords are those of
    :class:`~airflow_mlpipe.operators.function.FunctionStep`. The function runs in a process of its own,
    without Airflow. With ``multiple_outputs`` the keys of the dict that it returns are results of their own;
    that is the default where its annotation says dict.

    Raises DefinitionError for a function that cannot be a step.
    """

    def decorate(function: Callable[..., Any]) -> StepDecorator:
        if not callable(function):
            raise DefinitionError(f"@step decorates a function, not {function!r}; give options by name")
        _check_undecorated(function)
        return StepDecorator(
            function=without_outputs(function),
            multiple_outputs=False,
            operator_class=FunctionStep,
            kwargs=_options(options),
            decorator_name="step",
        )

    return makes_steps(decorate) if python_callable is None else decorate(python_callable)


def _options(given: Mapping[str, Any]) -> dict[str, Any]:
    """The options of the operator; to Airflow, ``multiple_outputs`` would say what must be returned."""
    options = dict(given)
    if (unroll := options.pop("multiple_outputs", None)) is not None:
        options["unroll"] = unroll
    return options


def _check_undecorated(function: Callable[..., Any]) -> None:
    """Raise DefinitionError for what already makes tasks, and for a method."""
    name = getattr(function, "__name__", repr(function))
    if isinstance(function, _TaskDecorator):
        raise DefinitionError(f"{name} is decorated twice, by @step and by another @step or @task; keep one")
    if "self" in inspect.signature(function).parameters:
        raise DefinitionError(
            f"@step decorates {getattr(function, '__qualname__', name)}, a method, whose object stays where "
            "the DAG is; make it a function, and pass what it needs as parameters"
        )


def _check_mapped(signature: FunctionSignature, fixed: Mapping[str, Any], mapped: Any) -> None:
    """What can be known of the calls before the mapping is."""
    FunctionCall(signature, fixed).check()
    calls = mapped if isinstance(mapped, (list, tuple)) else ()
    if isinstance(mapped, Mapping):
        signature.check_complete({**fixed, **mapped})
        calls = [
            {name: item}
            for name, items in mapped.items()
            if isinstance(items, (list, tuple))
            for item in items
        ]
    for call in calls:
        if isinstance(call, Mapping):
            signature.check_names(call, "is expanded with")
            FunctionCall(signature, call).check()
