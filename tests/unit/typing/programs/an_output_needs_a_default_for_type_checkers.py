"""Nobody passes an output; ``= OUTPUT`` says so to type checkers."""

from __future__ import annotations

from pathlib import Path

from airflow_mlpipe import OUTPUT, Output, step


@step
def train(rounds: int, model: Output[Path] = OUTPUT, *, lr: float) -> None: ...


@step
def score(model: Path, scores: Output[Path]) -> None: ...


fitted = train(3, lr=0.1)
score(fitted["model"])  # E: call-arg, reportCallIssue
