"""``.expand()`` takes lists, tuples, dicts and results by name; ``.expand_kwargs()`` takes dicts."""

from __future__ import annotations

from airflow.sdk import task

from airflow_mlpipe import step


@task
def find() -> list[str]:
    return ["a", "b"]


@step
def split() -> list[str]:
    return ["a", "b"]


@step
def score(shard: str) -> None: ...


score.expand(shard=["a", "b"])
score.expand(shard=("a", "b"))
score.expand(shard={"a": 1})
score.expand(shard=find())
score.expand(shard=split())
score.expand(shard=3)  # E: arg-type, reportArgumentType
score.expand(shard="ab")  # E: arg-type, reportArgumentType
score.expand(["a", "b"])  # E: call-arg, reportCallIssue

score.expand_kwargs([{"shard": "a"}, split()])
score.expand_kwargs(find())
score.expand_kwargs(split())
score.expand_kwargs(["a", "b"])  # E: list-item, reportArgumentType
score.partial("a")  # E: call-arg, reportCallIssue
score.partial(shard="a")()  # E: operator, reportCallIssue
