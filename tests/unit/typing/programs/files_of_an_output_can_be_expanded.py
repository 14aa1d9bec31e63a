"""``files_in`` takes an output of a step, and gives what a step can be expanded over, or take whole."""

from __future__ import annotations

from pathlib import Path

from airflow_mlpipe import OUTPUT, Input, Output, PipelineData, files_in, step


@step
def split(shards: Output[Path] = OUTPUT) -> None: ...


@step
def score(shard: Input[Path]) -> None: ...


@step
def count(shards: list[Path]) -> int:
    return len(shards)


files = files_in(split()["shards"], "*.csv")
score.expand(shard=files)
score.expand(shard=files_in(PipelineData("shards"), allow_empty=True, retries=2))
count(files)
files_in("shards")  # E: arg-type, reportArgumentType
