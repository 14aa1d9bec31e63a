"""Score flowers in shards, as many at once as Airflow allows, and collect the scores.

split -> train, files_in -> score, one task instance for each shard -> collect. Trigger it twice: the second
run reuses every step. Trigger it with ``arrived`` 100 instead of 80: one more shard of 20 flowers is there,
only that one is scored, and the model is not trained again.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from airflow.sdk import Param, dag
from flowers import table

from airflow_mlpipe import OUTPUT, Dataset, Input, Output, PipelineParameter, Run, files_in, step

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

SCORES = ("species", "certainty")
CERTAIN = 0.9  # a species that is less likely than this is worth a look


class Summary(NamedTuple):
    """How many flowers have a score, how many of these are doubtful, and the shards that have no scores."""

    scored: int
    doubtful: int
    missing: list[int]


@step
def split(
    flowers: Input[Path],
    arrived: int,
    size: int,
    labelled: Output[Path] = OUTPUT,
    shards: Output[Path] = OUTPUT,
) -> None:
    """Take every third flower to learn from; of the others, as many as have *arrived*, *size* to a shard."""
    rows = table.read(flowers)
    table.write(labelled, rows[::3], [*table.MEASURES, "species"])

    unknown = [row for number, row in enumerate(rows) if number % 3][:arrived]
    shards.mkdir()
    for index, start in enumerate(range(0, len(unknown), size)):
        table.write(shards / f"{index:04}.csv", unknown[start : start + size], table.MEASURES)


@step
def train(labelled: Input[Path]) -> LogisticRegression:
    """Learn to tell the species from the measures."""
    from sklearn.linear_model import LogisticRegression

    rows = table.read(labelled)
    return LogisticRegression(max_iter=1000).fit(table.measures(rows), [row["species"] for row in rows])


@step(map_index_template="{{ task.op_kwargs['shard'].inside }}")  # its name in the web UI
def score(model: LogisticRegression, shard: Input[Path], scores: Output[Path] = OUTPUT) -> None:
    """Name the species of each flower of a shard, and list the doubtful ones once more."""
    rows = table.read(shard)
    for row, chances in zip(rows, model.predict_proba(table.measures(rows)), strict=True):
        row["species"], row["certainty"] = model.classes_[chances.argmax()], f"{chances.max():.3f}"
    doubtful = [row for row in rows if float(row["certainty"]) < CERTAIN]

    scores.mkdir()
    table.write(scores / "all.csv", rows, [*table.MEASURES, *SCORES])
    table.write(scores / "doubtful.csv", doubtful, [*table.MEASURES, *SCORES])
    Run.get_context().log("doubtful", len(doubtful))


@step(trigger_rule="all_done_min_one_success")
def collect(scores: list[Path | None], collected: Output[Path] = OUTPUT) -> Summary:
    """Put the scores of all shards into one folder; a shard that could not be scored leaves a gap."""
    for index, folder in enumerate(scores):
        if folder is not None:
            shutil.copytree(folder, collected / f"{index:04}")

    return Summary(
        scored=sum(len(table.read(path)) for path in collected.glob("*/all.csv")),
        doubtful=sum(len(table.read(path)) for path in collected.glob("*/doubtful.csv")),
        missing=[index for index, folder in enumerate(scores) if folder is None],
    )


@dag(
    schedule=None,
    tags=["mlpipe", "example"],
    params={"arrived": Param(80, type="integer", minimum=1, description="how many flowers wait for a score")},
    doc_md=__doc__,
)
def score_shards() -> None:
    flowers = Dataset.File.from_files("introduction/data/iris.csv")
    parts = split(flowers, arrived=PipelineParameter("arrived"), size=20)
    model = train(parts["labelled"])
    collect(score.partial(model=model).expand(shard=files_in(parts["shards"], "*.csv")))


score_shards()
