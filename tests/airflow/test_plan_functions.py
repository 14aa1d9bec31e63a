"""What a plan says of steps that are functions, mapped ones above all."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.dag_processing.dagbag import BundleDagBag

from airflow_mlpipe import plan
from airflow_mlpipe.cli.plan import rows_of
from airflow_mlpipe.pipeline.planning.plan import Plan, PlannedStep
from tests.airflow.harness import BUNDLE, DagFiles, RunOutcome

pytestmark = pytest.mark.airflow

FUNCTIONS = """
@step
def shards() -> list[str]:
    return ["a", "b", "c"]

@step
def score(shard: str, factor: int = 1) -> dict[str, Any]:
    return {"shard": shard, "score": factor * len(shard)}

@step
def pair(left: dict[str, Any], right: Any) -> list[Any]:
    return [left, right]

@step
def total(scores: list[Any]) -> int:
    return len(scores)

@step
def tell(about: Any) -> None:
    print(about)
"""


def planned(dags: DagFiles, **conf: Any) -> Plan:
    bag = BundleDagBag(str(dags.folder), bundle_path=dags.folder, bundle_name=BUNDLE)
    assert not bag.import_errors, bag.import_errors
    return plan(bag.dags[dags.dag_id()], conf)


def of(made: Plan, name: str) -> PlannedStep:
    return next(step for step in made.steps if step.name == name)


def actions(made: Plan) -> dict[str, str]:
    return {step.name: step.action for step in made.steps}


def row(made: Plan, task_id: str, action: str) -> str:
    """The words of the one line that tells of the instances of a task with an action."""
    (why,) = (
        row["why"] for row in rows_of(made) if row["task"] == task_id and row["action"].startswith(action)
    )
    return why


def agree(made: Plan, run: RunOutcome) -> None:
    """Hold what a plan was certain of against the run that followed."""
    assert run.state == "success", run.text
    for step in made.steps:
        if step.action == "unknown":
            continue
        decision = run.decision(step.name)
        assert decision["action"] == {"reuse": "reused", "run": "ran"}[step.action]
        assert decision["kinds"] == list(step.kinds)
        assert step.fingerprint in (decision["fingerprint"], None)
        assert decision["reason"] == step.reason or step.action == "reuse"


def test_values_and_references_of_functions_that_would_be_reused_are_planned_on(dags: DagFiles) -> None:
    functions = """
    @step
    def prepare(rows: int, prepared: Output[Path]) -> None:
        prepared.write_text("x" * rows)

    @step
    def train(data: Input[Path], model: Output[Path], lr: float = 0.1) -> dict[str, Any]:
        model.write_text(data.read_text())
        return {"rows": 4, "bytes": b"weights"}

    @step
    def judge(rows: int, weights: bytes, model: Path) -> str:
        return f"{rows} {weights!r} {model.read_text()}"
    """
    calls = """
    fitted = train(prepare(rows=4), lr={lr})
    judge(fitted["rows"], fitted["bytes"], model=fitted["model"])
    """
    dags.functions(functions, calls.format(lr=0.5))
    assert actions(planned(dags)) == {"prepare": "run", "train": "unknown", "judge": "unknown"}
    agree(planned(dags), dags.run())
    assert planned(dags).runs_nothing
    dags.functions(functions, calls.format(lr=0.6))
    made = planned(dags)
    assert actions(made) == {"prepare": "reuse", "train": "run", "judge": "unknown"}
    assert of(made, "train").reason == "parameter lr 0.5 -> 0.6"
    assert of(made, "judge").expected_action == "reuse"
    assert of(made, "judge").reason.startswith(
        "until train is done; with the same bytes as last time it would be reused: outputs of "
    )
    run = dags.run()
    agree(made, run)
    assert run.actions["judge"] == "reused"


def test_a_step_mapped_over_what_a_reused_step_returned_is_planned_instance_by_instance(
    dags: DagFiles,
) -> None:
    calls = "total(score.partial(factor={}).expand(shard=shards()))"
    dags.functions(FUNCTIONS, calls.format(1))
    first = planned(dags)
    assert actions(first) == {"shards": "run", "score": "unknown", "total": "unknown"}
    agree(first, dags.run())
    assert planned(dags).runs_nothing
    assert planned(dags).summary().startswith("5 of 5 would be reused")
    dags.functions(FUNCTIONS.replace('"c"]', '"c", "d"]'), calls.format(1))
    made = planned(dags)
    assert actions(made)["shards"] == "run"
    assert [of(made, f"score[{index}]").expected_action for index in range(3)] == ["reuse"] * 3
    assert row(made, "score", "unknown 3 of 3").startswith("[0..2], the first: until shards is done; ")
    agree(made, dags.run())
    made = planned(dags)
    assert made.count("reuse") == len(made.steps) == 6


def test_of_a_literal_list_the_instances_are_told_that_would_run_and_why(dags: DagFiles) -> None:
    calls = "total(score.partial(factor={}).expand(shard={}))"
    dags.functions(FUNCTIONS, calls.format(1, ["a", "b", "c"]))
    agree(planned(dags), dags.run())
    dags.functions(FUNCTIONS, calls.format(1, ["a", "x", "c", "d"]))
    made = planned(dags)
    assert [step.action for step in made.steps] == ["reuse", "run", "reuse", "run", "unknown"]
    assert row(made, "score", "reuse 2 of 4").startswith("[0], [2], the first: outputs of ")
    assert "[1]: " in row(made, "score", "run 2 of 4")
    agree(made, dags.run())
    dags.functions(FUNCTIONS, calls.format(2, ["a", "x", "c", "d"]))
    assert row(planned(dags), "score", "run 4 of 4") == "[0..3]: parameter factor 1 -> 2"


def test_a_mapping_over_a_plain_task_is_not_known(dags: DagFiles) -> None:
    body = """
    @task
    def choose():
        return ["a", "b"]

    total(score.expand(shard=choose()))
    """
    dags.functions(FUNCTIONS, body)
    dags.run()
    made = planned(dags)
    assert actions(made) == {"score": "unknown", "total": "unknown"}
    assert of(made, "score").waits_for == ("choose",)
    assert planned(dags, mlpipe={"reuse": "refresh"}).count("run") == 2


def test_of_a_step_mapped_over_a_mapped_one_only_the_instances_wait_whose_own_input_is_made_anew(
    dags: DagFiles,
) -> None:
    calls = """
    scores = score.expand(shard={})
    pair.partial(right=None).expand(left=scores)
    """
    dags.functions(FUNCTIONS, calls.format(["a", "b", "c"]))
    dags.run()
    assert planned(dags).runs_nothing
    dags.functions(FUNCTIONS, calls.format(["a", "x", "c"]))
    made = planned(dags)
    assert [of(made, f"pair[{index}]").action for index in range(3)] == ["reuse", "unknown", "reuse"]
    assert of(made, "pair[1]").waits_for == ("score",)
    agree(made, dags.run())


def test_zipped_concatenated_and_mapped_results_are_planned_on(dags: DagFiles) -> None:
    dags.functions(
        FUNCTIONS,
        """
        names = shards()
        scores = score.expand(shard=names)
        tell.expand(about=scores.concat(names.map(lambda name: name.upper())).zip(names.concat(names)))
        pair.expand_kwargs(scores.map(lambda made: {"left": made, "right": made["shard"]}))
        total(scores=scores.concat(names))
        """,
    )
    run = dags.run()
    assert run.state == "success", run.text
    made = planned(dags)
    assert [step.name for step in made.steps if step.task_id == "tell"] == [f"tell[{i}]" for i in range(6)]
    assert [step.fingerprint for step in made.steps] == [
        run.decision(step.name)["fingerprint"] for step in made.steps
    ]
    assert {step.task_id for step in made.steps if step.action != "reuse"} == {"tell"}
    assert of(made, "tell[0]").kinds == ("not_allowed",)


def test_files_of_a_folder_that_would_be_reused_are_mapped_over(dags: DagFiles) -> None:
    functions = """
    @step
    def split(rows: list[str], parts: Output[Path]) -> None:
        parts.mkdir()
        for row in rows:
            (parts / f"{row}.csv").write_text(row)

    @step
    def count(part: Input[Path]) -> int:
        return len(part.read_text())
    """
    calls = 'count.expand(part=files_in(split({})["parts"], "*.csv"))'
    dags.functions(functions, calls.format(["a", "b"]))
    assert actions(planned(dags)) == {"split": "run", "count": "unknown"}
    assert of(planned(dags), "count").waits_for == ("files_in_parts",)
    agree(planned(dags), dags.run())
    made = planned(dags)
    assert actions(made) == {"split": "reuse", "count[0]": "reuse", "count[1]": "reuse"}
    dags.functions(functions, calls.format(["a", "b", "c"]))
    made = planned(dags)
    assert [of(made, f"count[{index}]").action for index in range(2)] == ["unknown", "unknown"]
    assert of(made, "count[0]").waits_for == ("files_in_parts",)
    assert of(made, "count[0]").expected_action == "reuse"
    agree(made, dags.run())
    assert actions(planned(dags)) == dict.fromkeys(["split", *(f"count[{i}]" for i in range(3))], "reuse")


def test_what_would_run_in_any_case_is_certain_although_its_input_is_not(dags: DagFiles) -> None:
    dags.functions(FUNCTIONS, "tell(total(score.expand(shard=shards())))")
    made = planned(dags)
    assert actions(made)["tell"] == "run"
    assert of(made, "tell").kinds == ("not_allowed",)
    assert actions(made)["total"] == "unknown"


def test_a_value_that_the_function_does_not_take_would_fail_the_instance(dags: DagFiles) -> None:
    dags.functions(FUNCTIONS.replace('"b", "c"', '2, "c"').replace("list[str]", "list[Any]"), "shards()")
    dags.run()
    dags.functions(
        FUNCTIONS.replace('"b", "c"', '2, "c"').replace("list[str]", "list[Any]"),
        "score.expand(shard=shards())",
    )
    made = planned(dags)
    assert [step.action for step in made.steps] == ["reuse", "run", "run", "run"]
    assert of(made, "score[1]").kinds == ("fails",)
    assert "parameter 'shard' is 2" in of(made, "score[1]").reason


def test_a_long_row_of_reasons_is_cut(dags: DagFiles) -> None:
    calls = "score.expand(shard=[f'{name}{{i}}' for i in range(9)])"
    dags.functions(FUNCTIONS, calls.replace("{name}", "a").replace("{{i}}", "{i}"))
    dags.run()
    dags.functions(FUNCTIONS, calls.replace("{name}", "b").replace("{{i}}", "{i}"))
    lines = row(planned(dags), "score", "run 9 of 9").split("\n")
    assert len(lines) == 6
    assert lines[0].startswith("[0]: parameter shard a0 -> b0")
    assert lines[-1] == "4 more for other reasons"
