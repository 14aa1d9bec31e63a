"""Parameters of a step have the types that its function gives them."""

from __future__ import annotations

from typing import Literal

from airflow_mlpipe import step


@step
def train(rounds: int, lr: float = 0.1, kind: Literal["tree", "linear"] = "tree") -> None: ...


train(3)
train(3, lr=1, kind="linear")
train("3")  # E: arg-type, reportArgumentType
train(3, lr="0.1")  # E: arg-type, reportArgumentType
train(3, lr=None)  # E: arg-type, reportArgumentType
train(3, kind="forest")  # E: arg-type, reportArgumentType
