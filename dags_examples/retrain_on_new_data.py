"""Train again whenever flowers arrive, and do nothing again for what has arrived before.

changed_data -> check, one task instance for each file that is new or was written anew; train -> evaluate. Put
CSV files of flowers into the folder ``incoming/flowers`` of the deployment's datastore (by default
``$AIRFLOW_HOME/mlpipe/incoming/flowers``) and, within a minute, a run starts by itself. Write a file again
with the same bytes: a run starts, and every step of it is reused.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from airflow.sdk import dag
from flowers import table

from airflow_mlpipe import Dataset, Datastore, Input, changed_data, step, watched_data

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

INCOMING = Datastore.default().path("incoming/flowers/*.csv")
ARRIVALS = watched_data(INCOMING, poll_interval=60)


@step(map_index_template="{{ task.op_kwargs['arrived'].paths[0] }}")  # its name in the web UI
def check(arrived: Input[Path]) -> int:
    """Count the flowers of a file, all of which must have every measure and a species."""
    rows = table.read(arrived)
    table.measures(rows)
    if not all(row["species"] for row in rows):
        raise ValueError(f"{arrived.name} has a flower without a species")
    return len(rows)


@step
def train(flowers: Input[Path]) -> LogisticRegression:
    """Learn to tell the species from the measures, from all that has arrived so far."""
    from sklearn.linear_model import LogisticRegression

    rows = [row for path in sorted(flowers.glob("*.csv")) for row in table.read(path)]
    return LogisticRegression(max_iter=1000).fit(table.measures(rows), [row["species"] for row in rows])


@step
def evaluate(model: LogisticRegression, flowers: Input[Path]) -> dict[str, float]:
    """Tell how many of the known flowers the model gets right."""
    rows = [row for path in sorted(flowers.glob("*.csv")) for row in table.read(path)]
    accuracy = model.score(table.measures(rows), [row["species"] for row in rows])
    return {"flowers": float(len(rows)), "accuracy": round(float(accuracy), 4)}


@dag(schedule=[ARRIVALS], tags=["mlpipe", "example"], max_active_runs=1, doc_md=__doc__)
def retrain_on_new_data() -> None:
    flowers = Dataset.File.from_files(INCOMING)
    check.expand(arrived=changed_data(ARRIVALS))
    evaluate(train(flowers), flowers)


retrain_on_new_data()
