"""What a script finds in its argv."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.airflow.harness import DagFiles

pytestmark = pytest.mark.airflow

# Writes its arguments to the path in the last one.
ECHO = """
    import json, sys
    with open(sys.argv[-1], "w") as file:
        json.dump(sys.argv[1:-1], file)
"""

AWKWARD = [
    "two words",
    'a "quoted" one',
    "it's",
    "first\nsecond",
    "*",
    "$HOME",
    "a;b|c&d",
    "naïve ☃",
    "",
    "[1, 2]",
    "\\n",
]


def test_every_text_arrives_as_one_item_and_no_shell_ever_sees_it(dags: DagFiles) -> None:
    dags.script("echo.py", ECHO)
    dags.dag(f'step("echo", *{AWKWARD!r}, PipelineData("said"))')
    assert json.loads(dags.run().read("echo", "said")) == AWKWARD


def test_numbers_and_booleans_arrive_as_python_prints_them_in_the_order_in_which_they_were_given(
    dags: DagFiles,
) -> None:
    dags.script("echo.py", ECHO)
    dags.dag('step("echo", "--n", 3, 0.1, 1e-07, True, False, -2, 10**20, PipelineData("said"))')
    said = json.loads(dags.run().read("echo", "said"))
    assert said == ["--n", "3", "0.1", "1e-07", "True", "False", "-2", str(10**20)]


def test_a_pipeline_parameter_arrives_with_the_value_of_the_run(dags: DagFiles) -> None:
    dags.script("echo.py", ECHO)
    dags.dag(
        """
        depth = PipelineParameter("depth", default_value=4)
        step("echo", PipelineParameter("lr"), depth, PipelineData("said"))
        """,
        options='params={"lr": 0.1}',
    )
    assert json.loads(dags.run().read("echo", "said")) == ["0.1", "4"]
    assert json.loads(dags.run(lr=0.2, depth=5).read("echo", "said")) == ["0.2", "5"]


def test_templates_in_arguments_are_rendered_inside_their_item(dags: DagFiles) -> None:
    dags.script("echo.py", ECHO)
    dags.dag(
        'step("echo", "{{ dag.dag_id }} {{ params.lr }}", "{{ 1 + 1 }}", PipelineData("said"))',
        options='params={"lr": 0.1}',
    )
    assert json.loads(dags.run().read("echo", "said")) == [f"{dags.dag_id()} 0.1", "2"]


def test_outputs_and_inputs_arrive_as_paths(dags: DagFiles) -> None:
    dags.file("data/one.txt", "one")
    dags.script("make.py", "import sys; open(sys.argv[1], 'w').write('made')")
    dags.script("echo.py", ECHO)
    dags.dag("""
        made = PipelineData("made")
        raw = Dataset.File.from_files("data/one.txt")
        step("make", made)
        step("echo", "--made", made, raw, raw.as_named_input("raw").as_mount(),
             OutputFileDatasetConfig("more"), PipelineData("said"))
    """)
    run = dags.run()
    flag, made, raw, named, more = json.loads(run.read("echo", "said"))
    assert flag == "--made"
    assert Path(made) == run.path("make", "made")
    assert [Path(raw), Path(named)] == [dags.folder / "data/one.txt"] * 2
    assert Path(more) == run.path("echo", "more")


def test_a_tabular_named_input_arrives_as_an_id_that_follows_its_content(dags: DagFiles) -> None:
    table = dags.file("data/table.csv", "a,b\n1,2\n")
    dags.script("echo.py", ECHO)
    dags.dag("""
        table = Dataset.Tabular.from_delimited_files("data/table.csv").as_named_input("table")
        step("echo", table, PipelineData("said"))
    """)
    (before,) = json.loads(dags.run().read("echo", "said"))
    table.write_text("a,b\n1,3\n")
    (after,) = json.loads(dags.run().read("echo", "said"))
    assert before != after
    assert "/" not in before


def test_what_a_plain_task_returns_arrives_as_its_text(dags: DagFiles) -> None:
    dags.script("echo.py", ECHO)
    dags.dag("""
        @task(multiple_outputs=True)
        def choose():
            return {"name": "a b", "depth": 7}

        chosen = choose()
        step("echo", chosen["name"], chosen["depth"], PipelineData("said"))
    """)
    assert json.loads(dags.run().read("echo", "said")) == ["a b", "7"]


def test_a_reference_from_another_step_arrives_as_the_path_of_its_data(dags: DagFiles) -> None:
    dags.script("make.py", "import sys; open(sys.argv[1], 'w').write('made')")
    dags.script("echo.py", ECHO)
    dags.dag("""
        made = step("make", PipelineData("made"))
        step("echo", made.output["made"], PipelineData("said"))
    """)
    run = dags.run()
    assert json.loads(run.read("echo", "said")) == [str(run.path("make", "made"))]


def test_a_value_that_no_command_line_can_carry_fails_the_step_with_a_sentence(dags: DagFiles) -> None:
    dags.script("echo.py", ECHO)
    dags.dag("""
        @task
        def choose():
            return {"depth": 7}

        step("echo", choose(), PipelineData("said"))
    """)
    run = dags.run()
    assert run.states["echo"] == "failed"
    assert "argument 1 resolved to {'depth': 7} of type dict; an upstream task must return" in run.text


def test_what_a_plain_task_returns_may_be_all_the_arguments(dags: DagFiles) -> None:
    dags.script(
        "echo.py",
        """
        import json, sys
        from airflow_mlpipe import Run
        with open(Run.get_context().output_datasets["said"], "w") as file:
            json.dump(sys.argv[1:], file)
    """,
    )
    dags.dag("""
        @task
        def choose():
            return ["--name", "a b", 3]

        PythonScriptStep(task_id="echo", source_directory="src", script_name="echo.py", arguments=choose(),
                         outputs=[PipelineData("said")])
    """)
    assert json.loads(dags.run().read("echo", "said")) == ["--name", "a b", "3"]


def test_an_environment_variable_holds_what_a_template_or_a_plain_task_gives(dags: DagFiles) -> None:
    dags.script("echo.py", "import os, sys; open(sys.argv[1], 'w').write(os.environ['A'] + os.environ['B'])")
    dags.dag("""
        @task
        def choose():
            return "chosen"

        step("echo", PipelineData("said"), environment_variables={"A": choose(), "B": " by {{ dag.dag_id }}"})
    """)
    assert dags.run().read("echo", "said") == f"chosen by {dags.dag_id()}"


def test_scripts_and_data_may_have_spaces_and_accents_in_their_names(dags: DagFiles) -> None:
    data = dags.file("données brutes/été.txt", "x")
    dags.file("source dir/my script.py", ECHO)
    dags.dag("""
        PythonScriptStep(name="My script: it echoes", source_directory="source dir",
                         script_name="my script.py",
                         arguments=[Dataset.File.from_files("données brutes/été.txt"), PipelineData("said")])
    """)
    assert json.loads(dags.run().read("My_script_it_echoes", "said")) == [str(data)]


def test_inputs_without_names_are_told_apart_and_one_that_occurs_twice_is_one(dags: DagFiles) -> None:
    one, two = dags.file("data/one.txt", "1"), dags.file("data/two.txt", "2")
    dags.script("echo.py", ECHO)
    dags.dag("""
        one, two = Dataset.File.from_files("data/one.txt"), Dataset.File.from_files("data/two.txt")
        step("echo", one, two, one, PipelineData("said"))
    """)
    run = dags.run()
    assert json.loads(run.read("echo", "said")) == [str(one), str(two), str(one)]
    assert sorted(dags.manifest(run, "echo").recipe["inputs"]) == ["input", "input_2"]
