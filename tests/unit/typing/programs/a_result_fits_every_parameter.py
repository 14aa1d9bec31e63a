"""What a step returns may be given to any parameter, also within a list or a dict."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypedDict

from airflow_mlpipe import Input, step


class Settings(TypedDict):
    depth: int


@step
def produce() -> None: ...


@step
def consume(
    number: float,
    text: str,
    path: Path,
    data: Input[Path],
    choice: Literal["tree", "linear"],
    pair: tuple[int, str],
    numbers: list[int],
    paths: dict[str, Path | None],
    settings: Settings,
    score: Callable[[int], float],
    nothing: int | None = None,
) -> None: ...


result = produce()
consume(result, result, result, result, result, result, result, result, result, result, nothing=result)
consume(
    number=result["number"],
    text=result["text"],
    path=result["path"],
    data=result["data"],
    choice=result["choice"],
    pair=(result["first"], result["second"]),
    numbers=[1, result["number"]],
    paths={"first": result["path"], "second": None},
    settings={"depth": result["depth"]},
    score=result["score"],
)
produce(result)  # E: call-arg, reportCallIssue
