"""The DAG files of functions that the documentation prints: Airflow reads them, and they do what is told."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from airflow.dag_processing.dagbag import BundleDagBag

from tests.airflow.harness import BUNDLE, DagFiles, RunOutcome

pytestmark = pytest.mark.airflow

DOCS = Path(__file__).parents[2] / "docs"
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)


def printed(page: str, language: str) -> list[str]:
    return [text for found, text in FENCE.findall((DOCS / page).read_text("utf8")) if found == language]


def dag_files(page: str) -> list[str]:
    return [text for text in printed(page, "python") if "@dag" in text and "@step" in text]


PAGES = [
    path for path in sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")) if dag_files(path)
]


@pytest.fixture
def weather(dags: DagFiles) -> DagFiles:
    """The folder of the tutorial, as far as its functions need it."""
    dags.file("data/measured.csv", next(text for text in printed("tutorial.md", "text") if "99.9" in text))
    dags.file("weather_src/table.py", printed("tutorial.md", "python")[0])
    return dags


@pytest.mark.parametrize("page", PAGES)
def test_airflow_reads_every_dag_file_of_functions_without_an_error(weather: DagFiles, page: str) -> None:
    for text in dag_files(page):
        weather.file("printed.py", text)
        bag = BundleDagBag(str(weather.folder), bundle_path=weather.folder, bundle_name=BUNDLE)
        assert not bag.import_errors
        assert len(bag.dags) == 1


def test_the_functions_of_the_tutorial_are_reused_and_an_edit_of_one_runs_that_one(weather: DagFiles) -> None:
    (text,) = dag_files("tutorial.md")
    first = run(weather, text, "weather_functions")
    again = run(weather, text, "weather_functions")
    edited = run(
        weather, text.replace("max(temperatures))", "round(max(temperatures)))"), "weather_functions"
    )
    assert first.actions == {"prepare": "ran", "summarise": "ran"}
    assert first.xcoms["prepare"]["metrics"] == {"dropped": 1}
    assert again.actions == {"prepare": "reused", "summarise": "reused"}
    assert again.states["tell"] == "success"
    assert edited.actions == {"prepare": "reused", "summarise": "ran"}
    assert "running: function summarise changed" in edited.text


def test_the_step_beside_plain_tasks_runs_when_their_values_change(dags: DagFiles) -> None:
    (text,) = dag_files("how-to/come-from-task.md")
    first = run(dags, text, "daily_means")
    again = run(dags, text, "daily_means")
    changed = run(dags, text.replace("19.8", "20.1"), "daily_means")
    assert first.returned("means") == {"mean": pytest.approx(15.667, abs=0.001), "count": 3}
    assert [done.actions["means"] for done in (first, again, changed)] == ["ran", "reused", "ran"]


def run(dags: DagFiles, text: str, dag_id: str) -> RunOutcome:
    done = dags.run_file(dags.file("printed.py", text), dag_id)
    assert done.state == "success", done.text
    return done
