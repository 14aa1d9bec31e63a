"""A ``PipelineParameter`` stands for a value of any type; its own attributes keep theirs."""

from __future__ import annotations

from typing_extensions import assert_type

from airflow_mlpipe import PipelineParameter, step


@step
def train(lr: float, rounds: int = 3, kinds: list[str] | None = None) -> None: ...


rounds = PipelineParameter("rounds", 3)
train(PipelineParameter("lr"), rounds=rounds, kinds=PipelineParameter("kinds"))
train(0.1, kinds=["tree", PipelineParameter("kind")])
assert_type(rounds.name, str)
PipelineParameter(3)  # E: arg-type, reportArgumentType
