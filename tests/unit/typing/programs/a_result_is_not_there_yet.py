"""While the DAG is parsed there is nothing in a result to loop over or to unpack."""

from __future__ import annotations

from typing import NamedTuple

from airflow_mlpipe import step


class Split(NamedTuple):
    train: str
    test: str


@step
def split() -> Split:
    return Split("a", "b")


parts = split()
train, test = parts  # E: misc, reportGeneralTypeIssues
for _ in parts:  # E: misc, reportGeneralTypeIssues
    print("a part")
