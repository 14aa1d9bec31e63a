"""A step has the parameters of its function, no more and no less."""

from __future__ import annotations

from airflow_mlpipe import step


@step(task_id="training")
def train(rounds: int, *, lr: float = 0.1) -> None: ...


train(rounds=3)
train()  # E: call-arg, reportCallIssue
train(3, rate=0.1)  # E: call-arg, reportCallIssue
train(3, 0.1)  # E: call-arg, reportCallIssue
