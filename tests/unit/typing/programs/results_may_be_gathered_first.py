"""Results gathered in a list or dict fit ``Sequence`` and ``Mapping``; ``list`` and ``dict`` are exact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from airflow_mlpipe import Input, step


@step
def train(lr: float) -> float:
    return lr


@step
def compare(scores: Sequence[float], models: Mapping[str, Path] | None = None) -> None: ...


@step
def rank(scores: Input[list[float]], models: Input[dict[str, Path] | None] = None) -> None: ...


@step
def average(scores: list[float]) -> None: ...


scores = [train(lr) for lr in (0.1, 0.2)]
models = {"slow": train(0.1)["model"], "fast": train(0.2)["model"]}
compare(scores, models)
rank(scores, models)
average([train(0.1), train(0.2), 0.3])
average(scores)  # E: arg-type, reportArgumentType
