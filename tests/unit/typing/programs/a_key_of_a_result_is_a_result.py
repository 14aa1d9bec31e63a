"""``result["name"]`` is what the step keeps under that name: an output, a field, a key or its metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from typing_extensions import assert_type

from airflow_mlpipe import step

if TYPE_CHECKING:
    from airflow_mlpipe.decorators.typing import StepResult


@step
def train() -> dict[str, float]:
    return {"accuracy": 0.9}


@step
def publish(accuracy: float) -> None: ...


fitted = train()
assert_type(fitted["model"], StepResult[Any])
publish(fitted["accuracy"]) >> publish(0.5)
wrong: Any = fitted[0]  # E: index, reportArgumentType
