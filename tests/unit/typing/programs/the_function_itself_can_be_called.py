"""``.function`` is the function under the decorator, for tests of the author's own."""

from __future__ import annotations

from pathlib import Path

from typing_extensions import assert_type

from airflow_mlpipe import OUTPUT, Input, Output, step


@step(compute_target="gpu")
def train(data: Input[Path], model: Output[Path] = OUTPUT, lr: float = 0.1) -> dict[str, float]:
    return {"accuracy": lr}


assert_type(train.function(Path("data"), Path("model"), lr=0.2), dict[str, float])
train.function(Path("data"), model="model")  # E: arg-type, reportArgumentType
