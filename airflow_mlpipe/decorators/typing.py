"""What type checkers know of ``@step``: the decorated function, and what calling it gives.

The names are for annotations. A DAG file that uses them imports them under ``if TYPE_CHECKING:``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Protocol, TypeVar

if TYPE_CHECKING:
    from typing import TypeAlias

    from airflow.sdk import XComArg
    from typing_extensions import Unpack

    from airflow_mlpipe.decorators.options import StepOptions

    Mapped: TypeAlias = XComArg | list[Any] | tuple[Any, ...] | Mapping[str, Any]
    """What ``.expand()`` makes a task instance of each item of."""

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
S = TypeVar("S")

if TYPE_CHECKING:
    # It derives from Any as well, so that it may be given to any parameter, whatever its annotation.
    class StepResult(XComArg, Any, Generic[R_co]):  # type: ignore[misc]
        """What will be returned by a function that returns R, while the DAG is parsed.

        ``result["name"]`` is one of its results: an output, a key of the dict or a field that it returned,
        or its metrics. Nothing is there yet to unpack or to loop over.
        """

        __iter__: None

        def __getitem__(self, key: str, /) -> StepResult[Any]: ...
        def map(self, f: Callable[[Any], S]) -> StepResult[list[S]]: ...
        def zip(self, *others: XComArg, fillvalue: Any = ...) -> StepResult[list[tuple[Any, ...]]]: ...
        def concat(self, *others: XComArg) -> StepResult[list[Any]]: ...


class MappableStep(Protocol[R_co]):
    """A step that can be mapped: a decorated function, or one that has part of its parameters already."""

    def partial(self, **parameters: Any) -> MappableStep[R_co]:
        """Give parameters that all instances have in common."""
        ...

    def expand(self, **parameters: Mapped) -> StepResult[list[R_co]]:
        """Run one instance for each item; several parameters multiply."""
        ...

    def expand_kwargs(
        self, kwargs: XComArg | Sequence[XComArg | Mapping[str, Any]], *, strict: bool = True
    ) -> StepResult[list[R_co]]:
        """Run one instance for each dict of parameters."""
        ...

    def override(self, **options: Unpack[StepOptions]) -> MappableStep[R_co]:
        """The same function as a step with other options."""
        ...


class StepFunction(MappableStep[R_co], Protocol[P, R_co]):
    """A function under ``@step``. Calling it adds a step to the DAG that calls the function when it runs."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> StepResult[R_co]: ...

    @property
    def function(self) -> Callable[P, R_co]:
        """The function itself, as a test calls it."""
        ...

    def override(self, **options: Unpack[StepOptions]) -> StepFunction[P, R_co]:
        """The same function as a step with other options."""
        ...
