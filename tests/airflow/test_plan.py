"""What a plan says, and that a run then does it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from airflow.dag_processing.dagbag import BundleDagBag

from airflow_mlpipe import plan
from airflow_mlpipe.errors import DefinitionError
from airflow_mlpipe.pipeline.planning.plan import Plan, PlannedStep
from airflow_mlpipe.store.invalidation import Invalidations
from tests.airflow.harness import BUNDLE, DagFiles, rewrite

pytestmark = pytest.mark.airflow

PIPELINE = """
raw = Dataset.File.from_files("data/raw.txt")
prepared, model, report = PipelineData("prepared"), PipelineData("model"), PipelineData("report")
step("prepare", raw.as_named_input("raw").as_mount(), prepared)
step("train", prepared.as_input(), "--lr", PipelineParameter("lr"), model{train})
step("evaluate", model.as_input(), report)
"""
OPTIONS = 'params={"lr": 0.1}'
STEPS = ("prepare", "train", "evaluate")

Edit = Callable[[DagFiles], object]


@pytest.fixture
def pipeline(dags: DagFiles) -> DagFiles:
    """Three steps in a row: words in lower case, the longest of them, a report on it."""
    dags.file("data/raw.txt", "One two Three")
    dags.script(
        "prepare.py",
        "import sys, words\nopen(sys.argv[2], 'w').write(words.clean(open(sys.argv[1]).read()))\n",
    )
    dags.script("words.py", "def clean(text):\n    return text.lower()\n")
    dags.script(
        "train.py",
        "import sys\nwords = open(sys.argv[1]).read().split()\n"
        "open(sys.argv[4], 'w').write(max(words, key=len) + ' at ' + sys.argv[3])\n",
    )
    dags.script("evaluate.py", "import sys\nopen(sys.argv[2], 'w').write(open(sys.argv[1]).read())\n")
    dags.dag(PIPELINE.format(train=""), options=OPTIONS)
    return dags


def parsed(dags: DagFiles, name: str = "pipeline") -> Any:
    bag = BundleDagBag(str(dags.folder), bundle_path=dags.folder, bundle_name=BUNDLE)
    assert not bag.import_errors, bag.import_errors
    return bag.dags[dags.dag_id(name)]


def planned(dags: DagFiles, **conf: Any) -> Plan:
    return plan(parsed(dags), conf)


def actions(made: Plan) -> dict[str, str]:
    return {step.name: step.action for step in made.steps}


def of(made: Plan, name: str) -> PlannedStep:
    return next(step for step in made.steps if step.name == name)


def contents(*folders: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for folder in folders
        for path in [folder, *folder.rglob("*")]
        if path.exists()
    }


def _edited(name: str, old: str, new: str) -> Edit:
    def edit(dags: DagFiles) -> None:
        path = dags.folder / name
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    return edit


def _nothing(dags: DagFiles) -> None:
    pass


def _other_data(dags: DagFiles) -> None:
    rewrite(dags.folder / "data/raw.txt", "One two Seven")


def _damaged_model(dags: DagFiles) -> None:
    for path in dags.store.rglob("outputs/model"):
        path.parent.chmod(0o755)
        path.unlink()


def _no_store(dags: DagFiles) -> None:
    dags.store.rename(dags.store.with_name("moved"))


def rarely(*values: object) -> Any:
    """A case that only "make test-slow" runs: one beside it ends in the same plan."""
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("edit", "conf", "expected"),
    [
        (_nothing, {}, "reuse reuse reuse"),
        (_edited("src/train.py", "' at '", "' with '"), {}, "reuse run unknown"),
        (_edited("src/words.py", "lower()", "casefold()"), {}, "run unknown unknown"),
        rarely(_edited("src/words.py", "return", "# lower case\n    return"), {}, "reuse reuse reuse"),
        rarely(_other_data, {}, "run unknown unknown"),
        (_nothing, {"lr": 0.2}, "reuse run unknown"),
        (_nothing, {"mlpipe": {"reuse": "refresh"}}, "run run run"),
        rarely(_nothing, {"mlpipe": {"reuse": "bypass"}}, "run run run"),
        rarely(_nothing, {"mlpipe": {"reuse": "read_only"}}, "reuse reuse reuse"),
        (_damaged_model, {}, "reuse run unknown"),
        (_no_store, {}, "run unknown unknown"),
    ],
    ids=lambda value: str(value).replace("function ", "") if not callable(value) else value.__name__,
)
def test_a_run_does_what_the_plan_says(
    pipeline: DagFiles, edit: Edit, conf: dict[str, Any], expected: str
) -> None:
    pipeline.run()
    edit(pipeline)
    made = planned(pipeline, **conf)
    assert actions(made) == dict(zip(STEPS, expected.split(), strict=True))
    run = pipeline.run(**conf)
    for step in made.steps:
        if step.action == "unknown":
            continue
        decision = run.decision(step.name)
        assert decision["action"] == {"reuse": "reused", "run": "ran"}[step.action]
        assert decision["kinds"] == list(step.kinds)
        assert step.fingerprint in (decision["fingerprint"], None)
        if step.action == "run":
            assert decision["reason"] == step.reason


def test_outputs_that_are_too_old_would_be_made_anew(pipeline: DagFiles) -> None:
    pipeline.run()
    pipeline.dag(PIPELINE.format(train=", max_age=timedelta(microseconds=1)"), options=OPTIONS)
    made = planned(pipeline)
    assert actions(made) == {"prepare": "reuse", "train": "run", "evaluate": "unknown"}
    assert of(made, "train").kinds == ("too_old",)
    assert pipeline.run().actions["train"] == "ran"


def test_outputs_that_were_invalidated_would_be_made_anew_and_it_is_said_by_whom(pipeline: DagFiles) -> None:
    run = pipeline.run()
    Invalidations(pipeline.datastore).invalidate(run.decision("train")["fingerprint"], "ada", "wrong labels")
    made = planned(pipeline)
    assert of(made, "train").kinds == ("invalidated",)
    assert of(made, "train").reason.endswith("ago: wrong labels")


def test_without_any_earlier_run_only_the_first_steps_are_known(pipeline: DagFiles) -> None:
    made = planned(pipeline)
    assert of(made, "prepare").kinds == ("first",)
    assert of(made, "train").reason == "until prepare is done"
    assert of(made, "train").waits_for == ("prepare",)
    assert made.summary() == "0 of 3 would be reused, 1 would run, 2 are not known yet"


def test_what_follows_a_rerun_is_told_for_the_case_that_the_bytes_stay_the_same(pipeline: DagFiles) -> None:
    first = pipeline.run()
    _edited("src/words.py", "lower()", "casefold()")(pipeline)
    made = planned(pipeline)
    reused = f"be reused: outputs of {pipeline.dag_id()}/{first.run_id}/"
    prefix = "until prepare is done; with the same bytes as last time it would "
    assert of(made, "train").reason.startswith(f"{prefix}{reused}train, made ")
    assert of(made, "evaluate").reason.startswith("until train is done; ")
    assert of(made, "evaluate").waits_for == ("train",)
    later = planned(pipeline, lr=0.2)
    assert of(later, "train").reason == f"{prefix}run: argument --lr 0.1 -> 0.2"


def test_a_plan_tells_what_is_saved_and_what_a_run_may_take(pipeline: DagFiles) -> None:
    run = pipeline.run()
    took = {name: pipeline.manifest(run, name).seconds for name in STEPS}
    made = planned(pipeline, lr=0.2)
    assert of(made, "prepare").saved_seconds == took["prepare"] == made.saved_seconds
    assert of(made, "train").expected_seconds == took["train"] == made.expected_seconds
    document = made.as_document()
    assert document["schema_version"] == 1
    assert document["totals"]["steps"] == 3
    assert json.loads(json.dumps(document)) == document


def test_of_two_steps_that_make_the_same_outputs_one_waits_for_the_other(dags: DagFiles) -> None:
    dags.script("make.py", "import sys; open(sys.argv[1], 'w').write('made')")
    dags.dag("""
        one = step("one", PipelineData("made"), script="make.py")
        one >> step("two", PipelineData("made"), script="make.py")
    """)
    made = planned(dags)
    assert actions(made) == {"one": "run", "two": "unknown"}
    assert of(made, "two").reason == "until one is done, which makes the same outputs"
    assert planned(dags, mlpipe={"reuse": "bypass"}).count("run") == 2
    assert dags.run().actions == {"one": "ran", "two": "reused"}


def test_planning_writes_nothing_but_the_memory_of_digests(pipeline: DagFiles, tmp_path: Path) -> None:
    pipeline.run()
    _damaged_model(pipeline)
    before = contents(pipeline.folder, pipeline.store, tmp_path / "work")
    for conf in ({}, {"lr": 0.2}, {"mlpipe": {"reuse": "refresh"}}):
        planned(pipeline, **conf)
    assert contents(pipeline.folder, pipeline.store, tmp_path / "work") == before


def test_planning_leaves_the_dag_as_it_is(dags: DagFiles) -> None:
    dags.script("make.py", "import sys; open(sys.argv[2], 'w').write(sys.argv[1])")
    dags.script("count.py", COUNT)
    dags.dag(
        """
        step("make", PipelineParameter("lr"), PipelineData("made"))
        PythonScriptStep.partial(
            task_id="count", source_directory="src", script_name="count.py", outputs=[PipelineData("counted")]
        ).expand(arguments=[["{{ params.lr }}"], ["b"]])
        """,
        options='params={"lr": 0.1}',
    )
    dag = parsed(dags)
    first = plan(dag)
    other = plan(dag, {"lr": 0.2})
    assert plan(dag) == first
    assert [a.fingerprint == b.fingerprint for a, b in zip(first.steps, other.steps, strict=True)] == [
        False,
        False,
        True,
    ]


def test_planning_makes_no_store(pipeline: DagFiles) -> None:
    planned(pipeline)
    assert not pipeline.store.exists()


def test_a_conf_that_a_run_would_refuse_is_refused_in_airflows_words(pipeline: DagFiles) -> None:
    pipeline.dag(PIPELINE.format(train=""), options='params={"lr": Param(0.1, type="number", maximum=1)}')
    with pytest.raises(
        DefinitionError, match="Invalid input for param lr: 7 is greater than the maximum of 1"
    ):
        planned(pipeline, lr=7)


def test_a_misspelt_switch_is_refused(pipeline: DagFiles) -> None:
    with pytest.raises(DefinitionError, match="'refesh'; it must be one of"):
        planned(pipeline, mlpipe={"reuse": "refesh"})


def test_a_dag_without_steps_has_an_empty_plan(dags: DagFiles) -> None:
    dags.dag('EmptyOperator(task_id="nothing")')
    made = planned(dags)
    assert made.steps == ()
    assert made.runs_nothing
    assert made.summary() == f"{dags.dag_id()} has no steps"


def test_a_step_whose_input_is_missing_would_fail_and_what_follows_is_not_known(pipeline: DagFiles) -> None:
    pipeline.run()
    (pipeline.folder / "data/raw.txt").unlink()
    made = planned(pipeline)
    assert actions(made) == {"prepare": "run", "train": "unknown", "evaluate": "unknown"}
    assert of(made, "prepare").kinds == ("fails",)
    assert of(made, "prepare").reason.startswith("it would fail: input raw: nothing is at 'data/raw.txt'")
    assert of(made, "train").reason == "until prepare is done"
    assert pipeline.run().states["prepare"] == "failed"


def test_packages_that_nobody_has_resolved_are_not_resolved_by_a_plan(dags: DagFiles) -> None:
    dags.script("make.py", "")
    dags.dag('step("make", PipelineData("made"), environment=Environment(pip_packages=["no-such-package"]))')
    assert of(planned(dags), "make").reason == "until a worker has resolved its packages (no-such-package)"
    assert not dags.store.exists()


MADE = 'step("make", "{argument}", PipelineData("made"))'


@pytest.mark.parametrize(
    ("argument", "until"),
    [
        ("{{ run_id }}", "a run has its run_id"),
        ("{{ ti.run_id }}", "a run has its run_id"),
        ("{{ dag_run.run_id }}", "a run has its dag_run.run_id"),
        ("{{ dag_run.start_date | default('never') }}", "a run has its dag_run.start_date"),
        ("{{ ds }}", "a run has its ds"),
        ("{% if logical_date is none %}x{% endif %}", "a run has its logical_date"),
        ("{{ run_id | default('none') }}", "a run has its run_id"),
        ("{{ conn.lake.host }}", "a run has its conn"),
        ("{{ ti.xcom_pull('choose') }}", "choose is done"),
        ("{{ ti.xcom_pull() }}", "a run pulls its XComs"),
    ],
)
def test_what_only_a_run_knows_makes_a_step_unknown(dags: DagFiles, argument: str, until: str) -> None:
    dags.script("make.py", "import sys; open(sys.argv[2], 'w').write(sys.argv[1])")
    dags.dag('EmptyOperator(task_id="choose") >> ' + MADE.format(argument=argument))
    made = planned(dags)
    assert of(made, "make").action == "unknown"
    assert of(made, "make").reason == f"until {until}"
    assert planned(dags, mlpipe={"reuse": "refresh"}).count("run") == 1


def test_a_step_waits_for_the_plain_task_whose_value_it_takes(dags: DagFiles) -> None:
    dags.script("make.py", "import sys; open(sys.argv[2], 'w').write(sys.argv[1])")
    dags.dag("""
        @task
        def choose():
            return 0.5

        step("make", choose(), PipelineData("made"))
    """)
    made = planned(dags)
    assert actions(made) == {"make": "unknown"}
    assert of(made, "make").waits_for == ("choose",)


def test_a_date_that_is_given_is_known(dags: DagFiles) -> None:
    dags.script("make.py", "import sys; open(sys.argv[2], 'w').write(sys.argv[1])")
    dags.dag(MADE.format(argument="{{ ds }} {{ ts_nodash }} {{ dag_run.logical_date.year }}"))
    run = dags.run()
    day = run.read("make", "made").split()[1]
    date = datetime.strptime(day, "%Y%m%dT%H%M%S").replace(tzinfo=timezone.utc)
    assert (
        of(plan(parsed(dags), logical_date=date), "make").fingerprint == run.decision("make")["fingerprint"]
    )
    made = of(plan(parsed(dags), logical_date=date), "make")
    assert made.action == "reuse"
    assert made.fingerprint == run.decision("make")["fingerprint"]


def test_conf_params_and_macros_are_rendered_as_in_a_run(dags: DagFiles) -> None:
    dags.script("make.py", "import sys; open(sys.argv[2], 'w').write(sys.argv[1])")
    text = "{{ params.lr }} {{ dag_run.conf.tag }} {{ macros.ds_add('2026-01-01', 1) }} {{ double(2) }}"
    dags.dag(
        MADE.format(argument=text),
        options='params={"lr": 0.1}, user_defined_macros={"double": lambda x: 2 * x}',
    )
    run = dags.run(lr=0.2, tag="a")
    assert run.read("make", "made") == "0.2 a 2026-01-02 4"
    assert actions(planned(dags, lr=0.2, tag="a")) == {"make": "reuse"}
    assert of(planned(dags, lr=0.3, tag="a"), "make").kinds == ("changed",)


def test_variables_are_read_and_a_secret_one_counts_as_in_a_run(dags: DagFiles) -> None:
    from airflow.models import Variable

    Variable.set("bucket", "raw")
    Variable.set("api_key", "q9-very-secret")
    dags.script("make.py", "import sys; open(sys.argv[2], 'w').write(sys.argv[1])")
    dags.dag(
        'step("make", "{{ var.value.bucket }}", PipelineData("made"), '
        'environment_variables={"API_KEY": "{{ var.value.api_key }}"})'
    )
    dags.run()
    assert actions(planned(dags)) == {"make": "reuse"}
    Variable.set("bucket", "cooked")
    assert of(planned(dags), "make").reason == "argument 1 raw -> cooked"


def test_a_template_that_cannot_be_rendered_would_fail_the_step(dags: DagFiles) -> None:
    dags.script("make.py", "")
    dags.dag(MADE.format(argument="{{ 1 / 0 }}"))
    made = of(planned(dags), "make")
    assert made.action == "run"
    assert made.reason.endswith("its templates cannot be rendered: ZeroDivisionError: division by zero")


SHARDS = """
PythonScriptStep.partial(
    task_id="count", source_directory="src", script_name="count.py", outputs=[PipelineData("counted")]
).expand(arguments=[["{}"], ["b"], ["c"]])
"""
COUNT = """
from airflow_mlpipe import Run
import sys
open(Run.get_context().output_datasets["counted"], "w").write(sys.argv[1])
"""


def test_each_instance_of_a_mapped_step_is_planned(dags: DagFiles) -> None:
    dags.script("count.py", COUNT)
    dags.dag(SHARDS.format("a"))
    assert actions(planned(dags)) == {"count[0]": "run", "count[1]": "run", "count[2]": "run"}
    dags.run()
    assert planned(dags).count("reuse") == 3
    dags.dag(SHARDS.format("A"))
    made = planned(dags)
    assert actions(made) == {"count[0]": "run", "count[1]": "reuse", "count[2]": "reuse"}
    assert of(made, "count[0]").reason == "argument 1 a -> A"
    run = dags.run()
    assert run.actions == {"count[0]": "ran", "count[1]": "reused", "count[2]": "reused"}


def test_what_a_mapped_step_hands_on_is_collected_and_mapped_over(dags: DagFiles) -> None:
    dags.script("count.py", COUNT)
    dags.script("sum.py", "import sys; open(sys.argv[2], 'w').write(str(sys.argv[1:]))")
    dags.script("again.py", COUNT)
    body = """
        counted, total = PipelineData("counted"), PipelineData("total")
        count = PythonScriptStep.partial(
            task_id="count", source_directory="src", script_name="count.py", outputs=[counted]
        ).expand(arguments=[["{}"], ["b"]])
        step("sum", counted.as_input(), total)
        PythonScriptStep.partial(
            task_id="again", source_directory="src", script_name="again.py", outputs=[PipelineData("counted")]
        ).expand(arguments=count.output.map(lambda made: [made["counted"]]))
    """
    dags.dag(body.format("a"))
    run = dags.run()
    assert run.state == "success"
    made = planned(dags)
    assert made.runs_nothing
    assert [step.fingerprint for step in made.steps] == [
        run.decision(step.name)["fingerprint"] for step in made.steps
    ]
    dags.dag(body.format("A"))
    made = planned(dags)
    assert of(made, "sum").waits_for == ("count",)
    assert of(made, "sum").reason.startswith(
        "until count is done; with the same bytes as last time it would be"
    )
    assert of(made, "again[0]").action == "unknown"
    assert of(made, "again[1]").action == "reuse"


def test_a_step_in_a_mapped_group_is_planned_for_each_instance(dags: DagFiles) -> None:
    dags.script("make.py", "import sys; open(sys.argv[2], 'w').write(sys.argv[1])")
    dags.script("follow.py", "import sys; open(sys.argv[2], 'w').write(open(sys.argv[1]).read())")
    dags.dag("""
        @task_group
        def shard(name):
            made = PipelineData("made")
            step("make", name, made)
            step("follow", made.as_input(), PipelineData("followed"))

        shard.expand(name=["a", "b"])
    """)
    run = dags.run()
    assert run.state == "success"
    made = planned(dags)
    assert [step.name for step in made.steps] == [
        "shard.make[0]",
        "shard.make[1]",
        "shard.follow[0]",
        "shard.follow[1]",
    ]
    assert made.runs_nothing
    assert [step.fingerprint for step in made.steps] == [
        run.decision(step.name)["fingerprint"] for step in made.steps
    ]


def test_a_mapping_that_only_a_run_knows_makes_the_step_unknown(dags: DagFiles) -> None:
    dags.script("count.py", COUNT)
    dags.dag("""
        @task
        def shards():
            return [["a"], ["b"]]

        PythonScriptStep.partial(
            task_id="count", source_directory="src", script_name="count.py", outputs=[PipelineData("counted")]
        ).expand(arguments=shards())
    """)
    made = planned(dags)
    assert actions(made) == {"count": "unknown"}
    assert of(made, "count").waits_for == ("shards",)


def test_a_sensor_is_reused_when_there_is_something_and_waits_when_there_is_not(dags: DagFiles) -> None:
    dags.script("make.py", "import sys; open(sys.argv[1], 'w').write('made')")
    dags.script("read.py", "import sys; open(sys.argv[2], 'w').write(open(sys.argv[1]).read())")
    dags.dag('step("make", PipelineData("made"))', name="maker")
    dags.dag("""
        made = PipelineData("made")
        OutputReuseSensor(task_id="await", source_directory="src", entry=Script(script_name="make.py"),
                          arguments=[made])
        step("read", made.as_input(), PipelineData("copy"))
    """)
    made = planned(dags)
    assert actions(made) == {"await": "unknown", "read": "unknown"}
    assert of(made, "await").reason.startswith("until its outputs exist: no earlier outputs")
    assert planned(dags, mlpipe={"reuse": "refresh"}).steps[0].action == "unknown"
    dags.run("maker")
    assert actions(planned(dags)) == {"await": "reuse", "read": "run"}


# -- the command ------------------------------------------------------------------------------------


def command(*arguments: str) -> int:
    """Run ``airflow mlpipe plan`` in this process; its exit code."""
    from airflow.cli.cli_parser import get_parser

    try:
        options = get_parser().parse_args(["mlpipe", "plan", *arguments])
        options.func(options)
    except SystemExit as exit:
        return int(exit.code or 0)
    return 0


def test_the_command_prints_a_line_for_each_step_and_the_totals(
    pipeline: DagFiles, capsys: pytest.CaptureFixture[str]
) -> None:
    pipeline.run()
    capsys.readouterr()
    assert command(pipeline.dag_id(), "--conf", '{"lr": 0.2}') == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("|")[0].strip() for line in lines[:1] + lines[2:5]] == ["task", *STEPS]
    assert "argument --lr 0.1 -> 0.2" in lines[3]
    assert lines[-1].startswith("1 of 3 would be reused, 1 would run (about ")


def test_instances_of_a_mapped_step_share_a_line_for_each_action(
    dags: DagFiles, capsys: pytest.CaptureFixture[str]
) -> None:
    dags.script("count.py", COUNT)
    dags.dag(SHARDS.format("a"))
    dags.run()
    dags.dag(SHARDS.format("A"))
    capsys.readouterr()
    assert command(dags.dag_id()) == 0
    text = capsys.readouterr().out
    assert "reuse 2 of 3" in text
    assert "run 1 of 3" in text
    assert "[0]: argument 1 a -> A" in text


def test_json_on_standard_output_is_the_plan_and_nothing_else(
    pipeline: DagFiles, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert command(pipeline.dag_id(), "-o", "json") == 0
    assert json.loads(capsys.readouterr().out) == planned(pipeline).as_document()


def test_the_exit_code_tells_whether_anything_would_run(pipeline: DagFiles) -> None:
    assert command(pipeline.dag_id()) == 0
    assert command(pipeline.dag_id(), "--exit-code") == 3
    pipeline.run()
    assert command(pipeline.dag_id(), "--exit-code") == 0
    assert command(pipeline.dag_id(), "--exit-code", "--conf", '{"lr": 0.2}') == 3


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["no_such_dag"], "no DAG 'no_such_dag' is in the bundles (tests)"),
        (["{dag}", "-B", "no_such_bundle"], "'no_such_bundle' is not configured"),
        (["{dag}", "--conf", "{lr}"], "--conf is not JSON"),
        (["{dag}", "--conf", "[1]"], "--conf is [1]; it must be an object"),
        (["{dag}", "--conf", "[" * 100_000], "--conf is not JSON"),
        (["{dag}", "--dag-file", "no/such/file.py"], "no file is at no/such/file.py"),
        (["no_such_dag", "--dag-file", "{file}"], "no DAG 'no_such_dag' is in {file}; it has {dag}"),
    ],
)
def test_a_mistake_is_a_sentence_and_exit_code_1(
    pipeline: DagFiles, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    names = {"dag": pipeline.dag_id(), "file": str(pipeline.folder / "pipeline.py")}
    filled = [item.replace("{dag}", names["dag"]).replace("{file}", names["file"]) for item in arguments]
    assert command(*filled) == 1
    wanted = sentence.replace("{dag}", names["dag"]).replace("{file}", names["file"])
    assert wanted in capsys.readouterr().err


def test_bundles_that_cannot_be_read_are_a_sentence_too(
    pipeline: DagFiles, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", "no json")
    assert command(pipeline.dag_id()) == 1
    assert "the DAG bundles are not known" in capsys.readouterr().err


def test_an_option_that_does_not_exist_is_exit_code_2(pipeline: DagFiles) -> None:
    assert command(pipeline.dag_id(), "--colour") == 2


def test_a_file_that_cannot_be_imported_is_named(
    pipeline: DagFiles, capsys: pytest.CaptureFixture[str]
) -> None:
    pipeline.file("broken.py", "from airflow.sdk import DAG\nimport no_such_module\n")
    assert command("broken", "--dag-file", str(pipeline.folder / "broken.py")) == 1
    assert "broken.py: ModuleNotFoundError: No module named 'no_such_module'" in capsys.readouterr().err


def test_of_a_bundle_only_the_file_is_read_that_airflow_knows_the_dag_by(pipeline: DagFiles) -> None:
    pipeline.run()
    seen = pipeline.folder / "seen"
    pipeline.file("other.py", f"from airflow.sdk import DAG\nopen({str(seen)!r}, 'w').close()\n")
    assert command(pipeline.dag_id()) == 0
    assert not seen.exists()
    assert command("no_such_dag") == 1
    assert seen.exists()


def test_a_dag_file_can_be_planned_without_a_database(pipeline: DagFiles, tmp_path: Path) -> None:
    pipeline.run()
    home = tmp_path / "fresh"
    airflow, file = Path(sys.executable).with_name("airflow"), pipeline.folder / "pipeline.py"
    options = ["--dag-file", file, "-o", "json", "--exit-code"]
    done = subprocess.run(
        [airflow, "mlpipe", "plan", pipeline.dag_id(), *options],
        env={**os.environ, "AIRFLOW_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["totals"]["reuse"] == 3
    assert not list(home.glob("*.db"))
