"""Runs that start, or go on, because data has changed: what they are told, and what they make of it."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.models.asset import AssetEvent
from airflow.utils.session import create_session
from sqlalchemy import select

from tests.airflow.harness import DagFiles, RunOutcome

pytestmark = pytest.mark.airflow

SENSOR = """
from airflow_mlpipe import DataChangeSensor

@step
def count(part: Input[Path]) -> int:
    return len(part.read_text())

@step
def total(parts: Input[Path]) -> int:
    return sum(len(path.read_text()) for path in parts.rglob("*.csv"))

@task
def told(paths, removed):
    return [paths, removed]
"""
BODY = """
news = DataChangeSensor(task_id="news", path="raw/", mode="poke", poke_interval=1, settle=0, {options})
count.expand(part=news.output)
total(news.output["data"])
told(news.output["paths"], news.output["removed"])
"""


def test_a_run_is_told_what_changed_since_the_last_one(dags: DagFiles) -> None:
    dags.functions(SENSOR, BODY.format(options=""))
    first_file = dags.file("raw/2026/a.csv", "one")
    dags.file("raw/b.csv", "three")
    first = dags.run()
    assert first.state == "success", first.text
    assert first.returned("told") == [[str(first_file), str(dags.folder / "raw/b.csv")], []]
    assert (first.returned("count[0]"), first.returned("count[1]"), first.returned("total")) == (3, 5, 8)

    first_file.unlink()
    dags.file("raw/b.csv", "three")
    dags.file("raw/2027/a.csv", "four")
    second = dags.run()
    assert second.returned("told")[1] == ["2026/a.csv"]
    assert {path.rpartition("raw/")[2] for path in second.returned("told")[0]} == {"2027/a.csv", "b.csv"}
    # The run was started for two files, one of which holds what it did before.
    assert second.actions == {"count[0]": "ran", "count[1]": "reused", "total": "ran"}


def test_a_sensor_defers_until_something_is_there(dags: DagFiles) -> None:
    options = "deferrable=True, existing=False, retries=0"
    dags.functions(SENSOR, BODY.format(options=options))
    dags.file("raw/old.csv", "old")
    dags.log.when("nothing is new at", lambda: dags.file("raw/new.csv", "new"))
    done = dags.run()
    assert done.state == "success", done.text
    assert [path.rpartition("/")[2] for path in done.returned("told")[0]] == ["new.csv"]


ASSETS = """
PythonScriptStep(
    task_id="train", source_directory="src", script_name="train.py",
    arguments=[PipelineParameter("rate", 1), PipelineData("model").as_asset("digits_model"),
               PipelineData("report").register_on_complete("reports")],
    outlets=[Asset("anything")],
)
"""
TRAIN = """
    import sys
    from pathlib import Path
    Path(sys.argv[2]).write_text("weights " + sys.argv[1])
    Path(sys.argv[3]).write_text("it went well")
"""


def test_an_event_says_which_output_there_is_and_nothing_new_makes_none(dags: DagFiles) -> None:
    dags.script("train.py", TRAIN)
    dags.dag(ASSETS)
    first = dags.run()
    assert first.state == "success", first.text
    model, report = (first.reference("train", name) for name in ("model", "report"))
    step = {"fingerprint": model.fingerprint, "version": model.fingerprint[:12]}
    named = {made.name: {"digest": made.digest, "uri": made.uri} for made in (model, report)}
    assert events(dags, first) == {
        "digits_model": {"output": "model", **named["model"], **step},
        "mlpipe.dataset.reports": {"name": "reports", "version": 1, **named["report"]},
        "anything": {"outputs": named, **step},
    }
    assert events(dags, dags.run()) == {}

    # Another model, and a report that says the same: no new version of it.
    third = dags.run(rate=2)
    assert set(events(dags, third)) == {"digits_model", "anything"}


def test_every_instance_of_a_mapped_step_tells_of_its_own_output(dags: DagFiles) -> None:
    dags.script("write.py", "import sys; open(sys.argv[2], 'w').write(sys.argv[1])")
    dags.dag("""
        made = PipelineData("made").as_asset("part")
        PythonScriptStep.partial(task_id="write", source_directory="src", script_name="write.py").expand(
            arguments=[["red", made], ["blue", made]])
    """)
    done = dags.run()
    assert done.state == "success", done.text
    assert done.asset_events == ["part", "part"]
    digests = {row["digest"] for row in event_extras(dags, done, "part")}
    assert digests == {done.reference(f"write[{index}]", "made").digest for index in (0, 1)}


def events(dags: DagFiles, done: RunOutcome) -> dict[str, dict[str, Any]]:
    return {name: event_extras(dags, done, name)[0] for name in done.asset_events}


def event_extras(dags: DagFiles, done: RunOutcome, asset: str) -> list[dict[str, Any]]:
    query = select(AssetEvent).where(
        AssetEvent.source_dag_id == dags.dag_id(), AssetEvent.source_run_id == done.run_id
    )
    with create_session() as session:
        return [dict(event.extra) for event in session.scalars(query) if event.asset.name == asset]
