"""Steps among other tasks: mapped, grouped, ordered, awaited, and their assets."""

from __future__ import annotations

import json

import pytest

from tests.airflow.harness import DagFiles

pytestmark = pytest.mark.airflow

# Writes its first argument to the path in its last one.
COPY = "import sys; open(sys.argv[-1], 'w').write(sys.argv[1])"

MAPPED = """
made = PipelineData("made")
PythonScriptStep.partial(task_id="make", source_directory="src", script_name="copy.py", {partial}).expand(
    arguments=[[word, made] for word in {words}]
)
step("gather", made, PipelineData("all"))
"""

GATHER = """
    import json, os, sys
    folder, said = sys.argv[1:]
    found = {name: open(os.path.join(folder, name)).read() for name in sorted(os.listdir(folder))}
    open(said, "w").write(json.dumps(found))
"""


@pytest.fixture
def mapped(dags: DagFiles) -> DagFiles:
    dags.script("copy.py", COPY)
    dags.script("gather.py", GATHER)
    dags.dag(MAPPED.format(words=["red", "green"], partial=""))
    return dags


def test_each_mapped_instance_is_a_step_of_its_own_and_their_outputs_are_one_folder(mapped: DagFiles) -> None:
    run = mapped.run()
    assert run.actions == {"make[0]": "ran", "make[1]": "ran", "gather": "ran"}
    assert run.decision("make[0]")["fingerprint"] != run.decision("make[1]")["fingerprint"]
    assert json.loads(run.read("gather", "all")) == {"0000": "red", "0001": "green"}


def test_a_second_run_of_a_mapped_step_reuses_each_index_with_its_references(mapped: DagFiles) -> None:
    first, second = mapped.run(), mapped.run()
    assert set(second.actions.values()) == {"reused"}
    assert second.returned("make[1]") == first.returned("make[1]")
    assert second.xcoms["make[1]"]["_link_ProducerLink"].endswith("/tasks/make/mapped/1")


def test_one_more_item_runs_one_instance_and_who_gathers(mapped: DagFiles) -> None:
    mapped.run()
    mapped.dag(MAPPED.format(words=["red", "green", "blue"], partial=""))
    run = mapped.run()
    assert run.actions == {"make[0]": "reused", "make[1]": "reused", "make[2]": "ran", "gather": "ran"}
    assert list(json.loads(run.read("gather", "all")).values()) == ["red", "green", "blue"]


def test_items_in_another_order_are_reused_by_what_they_are(mapped: DagFiles) -> None:
    first = mapped.run()
    mapped.dag(MAPPED.format(words=["green", "red"], partial=""))
    run = mapped.run()
    assert run.actions == {"make[0]": "reused", "make[1]": "reused", "gather": "ran"}
    assert run.returned("make[0]") == first.returned("make[1]")


def test_a_step_is_mapped_over_what_a_task_returns(dags: DagFiles) -> None:
    dags.script("copy.py", COPY)
    dags.dag("""
        @task
        def words():
            return ["red", "green"]

        @task
        def variables(word):
            return {"WORD": word}

        PythonScriptStep.partial(
            task_id="show", source_directory="src", script_name="show.py", arguments=[PipelineData("made")]
        ).expand(environment_variables=variables.expand(word=words()))
    """)
    dags.script("show.py", "import os, sys; open(sys.argv[1], 'w').write(os.environ['WORD'])")
    run = dags.run()
    assert run.state == "success", run.text
    assert [run.read(f"show[{index}]", "made") for index in range(2)] == ["red", "green"]


def test_steps_of_a_mapped_group_find_the_data_of_their_own_index(dags: DagFiles) -> None:
    dags.script("copy.py", COPY)
    dags.script("read.py", "import sys; open(sys.argv[2], 'w').write(open(sys.argv[1]).read())")
    dags.dag("""
        @task_group
        def group(word):
            made = PipelineData("made")
            step("make", word, made, script="copy.py")
            step("read", made, PipelineData("said"))

        group.expand(word=["red", "green"])
    """)
    run = dags.run()
    assert [run.read(f"group.read[{index}]", "said") for index in range(2)] == ["red", "green"]


def test_a_mapping_over_nothing_is_skipped_with_who_reads_it(dags: DagFiles) -> None:
    dags.script("copy.py", COPY)
    dags.dag("""
        @task
        def nothing():
            return []

        made = PipelineData("made")
        PythonScriptStep.partial(task_id="make", source_directory="src", script_name="copy.py",
                                 arguments=["x", made]).expand(environment_variables=nothing())
        step("read", made.as_input(), PipelineData("said"), script="copy.py")
    """)
    run = dags.run()
    assert (run.state, run.states["make"], run.states["read"]) == ("success", "skipped", "skipped")


def test_one_failed_instance_leaves_the_others_sealed(mapped: DagFiles) -> None:
    mapped.script(
        "copy.py",
        """
        import sys
        assert sys.argv[1] != "green", "not green"
        open(sys.argv[-1], 'w').write(sys.argv[1])
    """,
    )
    run = mapped.run()
    assert (run.states["make[0]"], run.states["make[1]"]) == ("success", "failed")
    assert run.states["gather"] == "upstream_failed"
    assert len(mapped.sealed()) == 1


def test_steps_in_a_task_group_find_each_others_data(dags: DagFiles) -> None:
    dags.script("copy.py", COPY)
    dags.script("read.py", "import sys; open(sys.argv[2], 'w').write(open(sys.argv[1]).read())")
    dags.dag("""
        made = PipelineData("made")
        with TaskGroup("group"):
            step("make", "red", made, script="copy.py")
        step("read", made, PipelineData("said"))
    """)
    run = dags.run()
    assert run.actions == {"group.make": "ran", "read": "ran"}
    assert run.read("read", "said") == "red"


def test_steps_stand_between_tasks_of_other_providers(dags: DagFiles) -> None:
    dags.script("copy.py", COPY)
    dags.dag("""
        before = BashOperator(task_id="before", bash_command="echo from bash")
        make = step("make", before.output, PipelineData("made"), script="copy.py")
        after = BashOperator(task_id="after", bash_command="cat {{ ti.xcom_pull('make')['made'].path() }}")
        EmptyOperator(task_id="start") >> make >> after
        step("last", "x", PipelineData("made"), script="copy.py").run_after(after)
    """)
    run = dags.run()
    assert run.state == "success", run.text
    assert run.returned("after") == "from bash"


def test_a_step_may_run_although_what_it_reads_failed(dags: DagFiles) -> None:
    dags.script("make.py", "raise SystemExit(1)")
    dags.script("copy.py", COPY)
    dags.dag("""
        failing = step("make", PipelineData("made"))
        failing >> step("copy", "cleaned up", PipelineData("said"), trigger_rule=TriggerRule.ALL_DONE)
    """)
    run = dags.run()
    assert run.states["make"] == "failed"
    assert run.read("copy", "said") == "cleaned up"


def test_reading_data_of_a_step_that_did_not_succeed_is_an_error_in_words(dags: DagFiles) -> None:
    dags.script("make.py", "raise SystemExit(1)")
    dags.script("read.py", "pass")
    dags.dag("""
        made = PipelineData("made")
        step("make", made)
        step("read", made.as_input(), trigger_rule=TriggerRule.ALL_DONE)
    """)
    run = dags.run()
    assert run.states == {"make": "failed", "read": "failed"}
    assert "step 'make' handed on no reference for 'made'" in run.text


def test_assets_are_announced_by_a_run_and_not_by_a_reuse_unless_asked(dags: DagFiles) -> None:
    dags.script("copy.py", COPY)
    dags.dag("""
        step("quiet", "red", PipelineData("made"), script="copy.py", outlets=[Asset("quiet")])
        step("loud", "blue", PipelineData("made"), script="copy.py", outlets=[Asset("loud")],
             emit_assets_on_reuse=True)
    """)
    assert sorted(dags.run().asset_events) == ["loud", "quiet"]
    second = dags.run()
    assert set(second.actions.values()) == {"reused"}
    assert second.asset_events == ["loud"]


SENSOR = """
OutputReuseSensor(task_id="await_it", entry=Script(script_name="copy.py"), source_directory="src",
                  arguments=["red", PipelineData("made")], {keywords})
"""


@pytest.mark.parametrize("keywords", ["", "deferrable=True", 'mode="poke"'])
def test_a_sensor_alone_finds_what_a_step_of_another_dag_has_made(dags: DagFiles, keywords: str) -> None:
    dags.script("copy.py", COPY)
    dags.dag('step("make", "red", PipelineData("made"), script="copy.py")', name="maker")
    dags.dag(SENSOR.format(keywords=keywords), name="waiter")
    made = dags.run("maker")
    found = dags.run("waiter")
    assert found.actions == {"await_it": "reused"}
    assert found.returned("await_it") == made.returned("make")


def test_a_sensor_waits_for_outputs_that_do_not_exist_yet(dags: DagFiles) -> None:
    dags.script("copy.py", COPY)
    dags.dag('step("make", "red", PipelineData("made"), script="copy.py")', name="maker")
    dags.dag(SENSOR.format(keywords='mode="poke", poke_interval=0.1'), name="waiter")
    made = dags.run("maker")
    hidden = dags.manifest_path(made, "make").rename(dags.store / "hidden")
    dags.log.when(
        "step 'await_it': waiting for its outputs", lambda: hidden.rename(dags.manifest_path(made, "make"))
    )
    assert dags.run("waiter").returned("await_it") == made.returned("make")


def test_a_sensor_that_waits_in_vain_fails_and_runs_nothing(dags: DagFiles) -> None:
    dags.script("copy.py", COPY)
    dags.dag(SENSOR.format(keywords='mode="poke", poke_interval=0.05, timeout=0.1'), name="waiter")
    run = dags.run("waiter")
    assert run.states == {"await_it": "failed"}
    assert not (dags.store / "mlpipe/v1/attempts").exists()
