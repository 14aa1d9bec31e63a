"""In the function's body a parameter has the type within its annotation."""

from __future__ import annotations

from pathlib import Path

from typing_extensions import assert_type

from airflow_mlpipe import OUTPUT, Input, Output, Pickle, step


class Model:
    def __init__(self, rounds: int) -> None:
        self.rounds = rounds


@step
def train(data: Input[Path], model: Pickle[Model], report: Output[Path] = OUTPUT) -> Pickle[Model]:
    for file in data.glob("*.csv"):
        rows: str = file.read_text()
        report.write_text(rows)
    data.read_txt()  # E: union-attr, reportAttributeAccessIssue
    (data / "rows.csv").read_txt()  # E: union-attr, reportAttributeAccessIssue

    assert_type(report, Path)
    assert_type(report / "report.html", Path)
    report.write_txt("")  # E: attr-defined, reportAttributeAccessIssue

    assert_type(model.rounds, int)
    if model.rounds > 3:
        return "fitted"  # E: return-value, reportReturnType
    return Model(model.rounds + 1)
