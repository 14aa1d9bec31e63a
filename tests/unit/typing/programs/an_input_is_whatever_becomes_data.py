"""``Input[Path]`` takes all that becomes a path; a plain ``Path`` takes paths, and results of steps."""

from __future__ import annotations

from pathlib import Path

from airflow.sdk import task

from airflow_mlpipe import Dataset, Input, PipelineData, PipelineDataReference, step


@step
def train(data: Input[Path]) -> None: ...


@step
def prepare(data: Path) -> None: ...


@task
def find(name: str) -> PipelineDataReference:
    raise FileNotFoundError(name)


raw = Dataset.File.from_files("raw/")
train(raw)
train(raw.as_named_input("raw").as_download())
train(PipelineData("prepared"))
train(PipelineData("prepared").as_input())
train(find("raw"))
train(Path("raw"))

prepare(Path("raw"))
prepare(raw)  # E: arg-type, reportArgumentType
prepare(find("raw"))  # E: arg-type, reportArgumentType
