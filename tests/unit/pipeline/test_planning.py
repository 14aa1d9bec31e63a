"""Plans as documents and sentences, and the context of a run that has not begun."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk import DAG, BaseOperator
from airflow.sdk.definitions.context import KNOWN_CONTEXT_KEYS

from airflow_mlpipe.pipeline.planning.context import PlannedContext, context_of, in_place_of_a_supervisor
from airflow_mlpipe.pipeline.planning.plan import Plan, PlannedStep
from airflow_mlpipe.pipeline.planning.run import HandedOn, NotKnownYet, PlannedRun
from airflow_mlpipe.pipeline.publication import HandedOn as Published


def step(action: Any, name: str = "train", **facts: Any) -> PlannedStep:
    return PlannedStep(name, facts.pop("map_index", -1), action, ("changed",), "why", **facts)


@pytest.fixture
def run() -> PlannedRun:
    with DAG("dag", schedule=None, params={"lr": 0.1}) as dag:
        BaseOperator(task_id="made") >> BaseOperator(task_id="reads")
        BaseOperator.partial(task_id="mapped").expand(params=[{}, {}])
    return PlannedRun(dag, {"lr": 0.2})


def rendered(run: PlannedRun, template: str, task_id: str = "reads") -> str:
    task = run.dag.get_task(task_id)
    with in_place_of_a_supervisor(run):
        return str(task.render_template(template, context_of(run, task, -1)))


@pytest.mark.parametrize(
    ("steps", "summary"),
    [
        ([], "dag has no steps"),
        ([step("reuse", saved_seconds=9000.0)] * 2, "2 of 2 would be reused; saves about 5 h"),
        ([step("reuse"), step("run")], "1 of 2 would be reused, 1 would run"),
        (
            [step("run", expected_seconds=60.0), step("run"), step("unknown", expected_seconds=60.0)],
            "0 of 3 would be reused, 2 would run (about 1 min), 1 is not known yet",
        ),
        ([step("unknown")] * 2, "0 of 2 would be reused, 2 are not known yet"),
        (
            [
                step("reuse", saved_seconds=9000.0, saved_cost=6.25),
                step("reuse", saved_seconds=9000.0),
                step("run", expected_seconds=7200.0, expected_cost=5.0),
            ],
            "2 of 3 would be reused, 1 would run (about 2 h and 5.00 of compute); "
            "saves about 5 h and 6.25 of compute",
        ),
    ],
)
def test_a_plan_sums_itself_up_in_a_sentence(steps: list[PlannedStep], summary: str) -> None:
    assert Plan("dag", tuple(steps)).summary() == summary


@pytest.mark.parametrize(
    ("actions", "nothing"),
    [([], True), (["reuse"], True), (["reuse", "run"], False), (["reuse", "unknown"], False)],
)
def test_a_plan_runs_nothing_only_when_every_step_is_certain_to_be_reused(
    actions: list[str], nothing: bool
) -> None:
    assert Plan("dag", tuple(step(action) for action in actions)).runs_nothing is nothing


def test_a_plan_is_a_document_with_a_schema_version() -> None:
    reused = step("reuse", map_index=3, fingerprint="f" * 64, saved_seconds=1.23456, saved_cost=0.56789)
    assert Plan("dag", (reused,)).as_document() == {
        "schema_version": 1,
        "dag_id": "dag",
        "totals": {
            "steps": 1,
            "reuse": 1,
            "run": 0,
            "unknown": 0,
            "saved_seconds": 1.235,
            "expected_seconds": 0,
            "saved_cost": 0.5679,
            "expected_cost": None,
        },
        "steps": [
            {
                "task_id": "train",
                "map_index": 3,
                "action": "reuse",
                "kinds": ["changed"],
                "reason": "why",
                "waits_for": [],
                "fingerprint": "f" * 64,
                "expected_action": None,
                "saved_seconds": 1.235,
                "expected_seconds": None,
                "saved_cost": 0.5679,
                "expected_cost": None,
                "pins": {},
            }
        ],
    }


def test_a_key_of_airflows_context_that_is_not_known_cannot_be_taken_for_undefined() -> None:
    context = PlannedContext(ds="2026-01-01")
    assert context["ds"] == context.get("ds") == "2026-01-01"
    for key in KNOWN_CONTEXT_KEYS - {"ds"}:
        assert key in context
        with pytest.raises(NotKnownYet):
            context[key]
        with pytest.raises(NotKnownYet):
            context.get(key)


def test_a_key_that_no_run_has_is_not_in_the_context() -> None:
    context = PlannedContext()
    assert "no_such_key" not in context
    assert context.get("no_such_key", 1) == 1
    with pytest.raises(KeyError):
        context["no_such_key"]


def test_a_template_sees_what_was_handed_on(run: PlannedRun) -> None:
    run.hand_on("made", -1, HandedOn({"return_value": {"x": 1}, "size": 7}))
    assert rendered(run, "{{ ti.xcom_pull('made')['x'] }} {{ ti.xcom_pull('made', key='size') }}") == "1 7"
    assert rendered(run, "{{ ti.xcom_pull('made', key='nothing') }}") == "None"
    assert rendered(run, "{{ ti.xcom_pull(['made'], key='size') }}") == "[7]"
    assert run.waits_for == {}


def test_what_is_only_supposed_is_handed_on_and_noted(run: PlannedRun) -> None:
    run.hand_on("made", -1, HandedOn({"size": 7}, certain=False))
    assert rendered(run, "{{ ti.xcom_pull('made', key='size') }}") == "7"
    assert list(run.waits_for) == ["made"]
    assert run.is_supposed
    run.forget_questions()
    assert run.waits_for == {}


def test_a_stand_in_is_noted_as_not_even_supposed(run: PlannedRun) -> None:
    run.hand_on("made", -1, HandedOn({"size": 0}, certain=False, supposed=False))
    rendered(run, "{{ ti.xcom_pull('made', key='size') }}")
    assert not run.is_supposed


def test_of_a_task_that_will_run_nothing_but_its_references_is_supposed(run: PlannedRun) -> None:
    run.hand_on("made", -1, HandedOn({"size": 7}, certain=False))
    with pytest.raises(NotKnownYet, match="made is done") as caught:
        rendered(run, "{{ ti.xcom_pull('made') }}")
    assert caught.value.task_id == "made"


def test_the_decision_of_a_step_is_not_known_although_its_references_are(run: PlannedRun) -> None:
    run.hand_on("made", -1, HandedOn({"return_value": {}}))
    with pytest.raises(NotKnownYet, match="made is done"):
        rendered(run, "{{ ti.xcom_pull('made', key='mlpipe_decision')['action'] }}")


def test_the_instances_of_a_mapped_task_are_pulled_in_the_order_of_their_indexes(run: PlannedRun) -> None:
    run.expand("mapped", 2)
    run.hand_on("mapped", 1, HandedOn({"return_value": "b"}))
    run.hand_on("mapped", 0, HandedOn({"return_value": "a"}))
    task = run.dag.get_task("reads")
    with in_place_of_a_supervisor(run):
        pulled = run.dag.get_task("mapped").output.resolve(context_of(run, task, -1))
        assert list(pulled) == ["a", "b"]
        assert len(pulled) == 2
        assert pulled[-1] == "b"
        assert list(pulled[:1]) == ["a"]
    assert rendered(run, "{{ ti.xcom_pull('mapped') }}") == "['a', 'b']"
    assert rendered(run, "{{ ti.xcom_pull('mapped', map_indexes=1) }}") == "b"


def test_only_those_instances_are_waited_for_that_are_asked_for(run: PlannedRun) -> None:
    run.expand("mapped", 2)
    run.hand_on("mapped", 0, HandedOn({"return_value": "a"}))
    run.hand_on("mapped", 1, HandedOn({"return_value": "b"}, certain=False))
    task = run.dag.get_task("reads")
    with in_place_of_a_supervisor(run):
        pulled = run.dag.get_task("mapped").output.resolve(context_of(run, task, -1))
        assert (len(pulled), pulled[0], list(pulled[:1])) == (2, "a", ["a"])
        assert run.waits_for == {}
        assert pulled[1] == "b"
        assert list(run.waits_for) == ["mapped"]
        with pytest.raises(IndexError):
            pulled[2]


def test_how_many_hand_something_on_is_not_known_while_one_may_hand_on_nothing(run: PlannedRun) -> None:
    run.expand("mapped", 2)
    run.hand_on("mapped", 0, HandedOn({"return_value": "a"}))
    run.hand_on("mapped", 1, HandedOn({}, certain=False))
    with pytest.raises(NotKnownYet, match="mapped is done"):
        run.number_of_values("mapped", "return_value")
    run.hand_on("mapped", 1, HandedOn({}))
    assert run.number_of_values("mapped", "return_value") == 1


def test_what_returns_none_leaves_nothing_under_its_return_value() -> None:
    published = Published(None, {"metrics": {}})
    assert HandedOn.of(published, certain=True) == HandedOn({"metrics": {}})
    assert HandedOn.of(Published(0, {}), certain=False) == HandedOn({"return_value": 0}, certain=False)


def test_params_are_those_of_the_dag_with_the_values_of_the_run(run: PlannedRun) -> None:
    assert rendered(run, "{{ params.lr }} {{ dag_run.conf.lr }}") == "0.2 0.2"


def test_the_supervisor_of_a_process_is_back_after_planning(run: PlannedRun) -> None:
    from airflow.sdk.execution_time import task_runner

    before = getattr(task_runner, "SUPERVISOR_COMMS", None)
    with pytest.raises(NotKnownYet), in_place_of_a_supervisor(run):
        raise NotKnownYet("now")
    assert getattr(task_runner, "SUPERVISOR_COMMS", None) is before
