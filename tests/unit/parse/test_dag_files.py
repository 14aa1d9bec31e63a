"""DAG files as authors write them, parsed by Airflow's own DAG bag in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

HEADER = """
from datetime import timedelta
from pathlib import Path
from airflow.sdk import DAG, TaskGroup, TriggerRule, task
from airflow.providers.standard.operators.bash import BashOperator
from airflow_mlpipe import (
    CommandStep, Dataset, DockerTarget, Environment, LocalTarget, OutputFileDatasetConfig, OutputReuseSensor,
    PipelineData, PipelineParameter, PythonScriptStep, Script,
)

def step(task_id, **keywords):
    return PythonScriptStep(task_id=task_id, source_directory="code", script_name="train.py", **keywords)

def mapped(task_id, **keywords):
    keywords = {"script_name": "train.py", **keywords}
    return PythonScriptStep.partial(task_id=task_id, source_directory="code", **keywords)

"""

# File name: the body of its DAG, and what the author reads in Airflow's list of import errors.
MISTAKES = {
    "environment_for_containers": (
        'step("train", environment=Environment(conda_packages=["a"]))',
        "step 'train': its environment has conda_packages, which compute target 'local' does not install",
    ),
    "mapped_environment_for_containers": (
        'mapped("train", environment=Environment(conda_packages=["a"]), compute_target="local")'
        '.expand(arguments=[["1"]])',
        "step 'train': its environment has conda_packages, which compute target 'local' does not install",
    ),
    "mapped_environment_for_containers_on_the_default_target": (
        'mapped("train", environment=Environment(conda_packages=["a"])).expand(arguments=[["1"]])',
        "step 'train': its environment has conda_packages, which compute target 'local' does not install",
    ),
    "mapped_without_an_image": (
        'mapped("train", compute_target=DockerTarget()).expand(arguments=[["1"]])',
        "step 'train': its environment names no image, nor does compute target 'docker'; set "
        "image='python:3.12-slim' or another one, in either",
    ),
    "mapped_by_dicts_without_an_image": (
        'mapped("train", compute_target=DockerTarget()).expand_kwargs([{"arguments": ["1"]}])',
        "step 'train': its environment names no image, nor does compute target 'docker'; set "
        "image='python:3.12-slim' or another one, in either",
    ),
    "missing_script": (
        'PythonScriptStep(source_directory="code", script_name="trian.py")',
        "step 'trian.py': script_name 'trian.py' is not a file in {code}",
    ),
    "source_outside_the_bundle": (
        'PythonScriptStep(source_directory="../elsewhere", script_name="train.py")',
        "step 'train.py': source_directory '../elsewhere' is {elsewhere}, outside the DAG bundle {dags}; "
        "move the code into the bundle",
    ),
    "missing_source": (
        'PythonScriptStep(source_directory="cod", script_name="train.py")',
        "step 'train.py': source_directory 'cod' is not a folder: {dags}/cod does not exist",
    ),
    "produced_twice": (
        """
        model = PipelineData("model")
        step("first", outputs=[model])
        step("second", outputs=[model])
        """,
        "output 'model' is produced twice: by step 'first' and by step 'second'; give each its own",
    ),
    "never_produced": (
        'step("score", arguments=["--model", PipelineData("model").as_input()])',
        "step 'score' reads 'model', which no step of the DAG produces; list it in the outputs",
    ),
    "never_produced_input": (
        'step("score", inputs=[PipelineData("model")])',
        "step 'score' reads 'model', which no step of the DAG produces",
    ),
    "unknown_target": (
        'step("train", compute_target="tpu")',
        "compute target 'tpu' is not in {targets}; known there: big, local",
    ),
    "unknown_environment": (
        'step("train", environment="torch")',
        "environment 'torch' is not known: [mlpipe] environments names no file",
    ),
    "cycle_of_data": (
        """
        left, right = PipelineData("left"), PipelineData("right")
        step("a", inputs=[right], outputs=[left])
        step("b", inputs=[left], outputs=[right])
        """,
        "the pipeline has a cycle; remove one of the two dependencies",
    ),
    "cycle_of_data_and_order": (
        """
        model = PipelineData("model")
        step("train", outputs=[model]).run_after(step("score", inputs=[model]))
        """,
        "Cycle detected in Dag: cycle_of_data_and_order",
    ),
    "own_output": (
        """
        model = PipelineData("model")
        step("train", inputs=[model], outputs=[model])
        """,
        "step 'train' reads its own output 'model'; use two PipelineData",
    ),
    "bad_output_name": (
        'PipelineData("my model")',
        "output name 'my model' is not valid: use 1 to 64 letters, digits and underscores",
    ),
    "taken_output_name": (
        'PipelineData("metrics")',
        "output name 'metrics' is taken",
    ),
    "bad_input_name": (
        'Dataset.File.from_files("data.csv").as_named_input("PATH")',
        "input name 'PATH' is not allowed: the input's path is also an environment variable",
    ),
    "two_outputs_of_one_name": (
        'step("train", outputs=[PipelineData("model"), PipelineData("model")])',
        "step 'train' has two outputs of the name 'model'; each needs a name of its own",
    ),
    "unhashable_argument": (
        'step("train", arguments=["--rates", {0.1, 0.2}])',
        "step 'train': argument 2 is {{0.1, 0.2}}: a value of type set cannot be written on a command line "
        "nor hashed; use str, int, float, bool, PipelineData, a dataset or a PipelineParameter",
    ),
    "path_argument": (
        'step("train", arguments=[Path("/data")])',
        "step 'train': argument 1 is PosixPath('/data'): a path of this machine; use a Dataset",
    ),
    "nested_arguments": (
        'step("train", arguments=[["--lr", 1]])',
        "step 'train': argument 1 is ['--lr', 1]: a list within the list; spread it with *",
    ),
    "text_for_arguments": (
        'step("train", arguments="--lr 1")',
        "step 'train': arguments is '--lr 1'; it must be a list with one item for each argv item",
    ),
    "undeclared_parameter": (
        'step("train", arguments=[PipelineParameter("rate")])',
        "step 'train' uses PipelineParameter('rate'), which the DAG does not declare (its params: lr)",
    ),
    "shell_command": (
        'CommandStep(command="Rscript fit.R", task_id="fit")',
        "Command.argv: a command is a list such as ['Rscript', 'fit.R']; no shell splits a text",
    ),
    "mapped_missing_script": (
        'mapped("train", script_name="trian.py").expand(arguments=[["1"], ["2"]])',
        "step 'train': script_name 'trian.py' is not a file in {code}",
    ),
    "mapped_never_produced": (
        'mapped("score", inputs=[PipelineData("model")]).expand(arguments=[["1"], ["2"]])',
        "step 'score' reads 'model', which no step of the DAG produces",
    ),
    "mapped_unhashable_argument": (
        'mapped("train", arguments=["--rates", {0.1}]).expand(reuse_version=["1", "2"])',
        "step 'train': argument 2 is {{0.1}}: a value of type set cannot be written on a command line",
    ),
    "mapped_unhashable_among_the_expanded": (
        'mapped("train").expand(arguments=[["1"], [None]])',
        "step 'train': argument 1 is None: None is not an argument; leave it out",
    ),
}

PIPELINES = {
    "arguments_alone": """
        prepared, model = PipelineData("prepared"), OutputFileDatasetConfig("model")
        step("prepare", arguments=["--out", prepared])
        step("train", arguments=["--data", prepared, "--model", model])
        step("score", arguments=["--data", prepared.as_download(), "--model", model.as_input()])
        """,
    "listed_outputs": """
        model = PipelineData("model")
        step("score", arguments=["--model", model])
        step("train", arguments=["--model", model], outputs=[model])
        """,
    "consumer_first": """
        model = PipelineData("model")
        step("score", inputs=[model.as_named_input("fitted")])
        step("train", arguments=["--model", model])
        """,
    "no_data_no_edge": """
        step("left", arguments=[PipelineData("model")])
        step("right", arguments=[PipelineData("model")])
        """,
    "run_after": """
        first, second, third = step("first"), step("second"), step("third")
        third.run_after(first, second)
        """,
    "named_after_script": """
        PythonScriptStep(source_directory="code", script_name="train.py")
        PythonScriptStep(source_directory="code", script_name="sub/score.py")
        PythonScriptStep(source_directory="code", script_name="train.py", name="Train twice")
        CommandStep(source_directory="code", command=["Rscript", "fit.R"])
        """,
    "mixed": """
        @task
        def choose():
            return "0.1"

        @task
        def report(model):
            print(model)

        model = PipelineData("model")
        extract = BashOperator(task_id="extract", bash_command="true")
        with TaskGroup("fit"):
            train = step("train", arguments=["--lr", choose(), "--model", model])
            check = step("check", arguments=[model.as_input()], trigger_rule=TriggerRule.ALL_DONE)
        extract >> train
        report(train.output["model"])
        check >> BashOperator(task_id="notify", bash_command="true")
        """,
    "references": """
        model = PipelineData("model")
        train = step("train", outputs=[model])
        step("listed", inputs=[train.output["model"]])
        step("argued", arguments=["--model", train.output["model"]])
        """,
    "mapped": """
        @task
        def shards():
            return [["a"], ["b"]]

        model, part = PipelineData("model"), PipelineData("part")
        step("train", outputs=[model])
        with TaskGroup("scoring"):
            mapped("score", inputs=[model], outputs=[part]).expand(arguments=shards())
            mapped("plain", arguments=["--rate", PipelineParameter("rate", 0.5)]).expand(
                reuse_version=["1", "2"]
            )
        step("merge", arguments=["--parts", part.as_input()])
        """,
    "environments_by_instance": """
        @task
        def environments():
            return []

        environment, target = Environment(image="python:3.12"), DockerTarget()
        mapped("named", compute_target=target).expand(environment=[environment])
        mapped("listed", compute_target=target).expand_kwargs([{"environment": environment}])
        mapped("told", compute_target=target).expand_kwargs(environments())
        with TaskGroup("group", default_args={"environment": environment}):
            mapped("inherited", compute_target=target).expand(arguments=[["1"]])
        """,
    "parameters": """
        step("train", arguments=["--lr", PipelineParameter("lr"), "--C", PipelineParameter("C", 1.5)])
        """,
    "everything": """
        raw = Dataset.File.from_files("raw/")
        table = Dataset.Tabular.from_delimited_files("table.csv").keep_columns(["a", "b"])
        outputs = [PipelineData(name) for name in "abcdefgh"]
        step(
            "make",
            arguments=[1, 0.5, True, "text", "{{ ds }}", PipelineParameter("C", 1.5), raw, *outputs],
            inputs=[table.as_named_input("table"), raw.as_named_input("folder").as_download()],
            environment=Environment("six", pip_packages=["six"], environment_variables={"B": "1", "A": "2"}),
            environment_variables={"Y": "1", "X": "{{ ds }}"},
            compute_target=LocalTarget(pool="default_pool"),
            max_age=timedelta(days=1),
            hash_paths=["extra"],
        )
        for name in "zyx":
            step(f"use_{name}", inputs=[output.as_input() for output in outputs])
        OutputReuseSensor(task_id="wait", entry=Script(script_name="train.py"), source_directory="code")
        """,
    "target_by_name": """
        step("train", compute_target="big", default_args={"retries": 2})
        """,
}


class Parsed:
    """What the probe printed, and the folder that it parsed."""

    def __init__(self, folder: Path, report: dict[str, Any]) -> None:
        self.folder = folder
        self.dags = folder / "dags"
        self.errors: dict[str, str] = report["errors"]
        self.found: dict[str, dict[str, Any]] = report["dags"]
        self.seen: dict[str, list[str]] = report["seen"]
        self.control: dict[str, list[str]] = report["control"]

    def edges(self, dag_id: str) -> dict[str, list[str]]:
        """The downstream tasks of each task that has any."""
        edges: dict[str, list[str]] = self.found[dag_id]["edges"]
        return {task: followers for task, followers in edges.items() if followers}


def write_dags(folder: Path) -> None:
    for name in ("dags/code/train.py", "dags/code/sub/score.py", "elsewhere/train.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("import os\n")
    (folder / "dags" / ".airflowignore").write_text("code/\n")
    (folder / "targets.yaml").write_text("big: {type: local, pool: gpus, pool_slots: 2}\n")
    bodies = {**PIPELINES, **{name: body for name, (body, _) in MISTAKES.items()}}
    for name, body in bodies.items():
        text = textwrap.indent(textwrap.dedent(body).strip(), "    ")
        opening = f'with DAG("{name}", params={{"lr": 0.1}}):\n'
        (folder / "dags" / f"{name}.py").write_text(f"{HEADER}{opening}{text}\n")


def start_probe(folder: Path, hash_seed: str) -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(folder / f"home-{hash_seed}"),
        "AIRFLOW__MLPIPE__COMPUTE_TARGETS": str(folder / "targets.yaml"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(folder / "dags"),
        "PYTHONHASHSEED": hash_seed,
    }
    command = [sys.executable, str(Path(__file__).with_name("probe.py")), str(folder / "dags")]
    return subprocess.Popen(
        command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def finish_probe(process: subprocess.Popen[str]) -> dict[str, Any]:
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    report: dict[str, Any] = json.loads(output.splitlines()[-1])
    return report


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Parsed, Parsed]:
    """The same folder as two processes with different hash seeds parse it."""
    folder = tmp_path_factory.mktemp("bundle").resolve()
    write_dags(folder)
    processes = [start_probe(folder, "1"), start_probe(folder, "2")]
    first, second = (Parsed(folder, finish_probe(process)) for process in processes)
    return first, second


@pytest.fixture(scope="module")
def parsed(both: tuple[Parsed, Parsed]) -> Parsed:
    return both[0]


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_at_parse_in_one_sentence(parsed: Parsed, name: str) -> None:
    places = {
        "dags": parsed.dags,
        "code": parsed.dags / "code",
        "elsewhere": parsed.folder / "elsewhere",
        "targets": parsed.folder / "targets.yaml",
    }
    assert name in parsed.errors
    assert MISTAKES[name][1].format(**places) in parsed.errors[name]


def test_a_mistake_in_one_file_leaves_the_others_alone(parsed: Parsed) -> None:
    assert set(parsed.found) == set(PIPELINES)
    assert set(parsed.errors) == set(MISTAKES)


@pytest.mark.parametrize(
    ("dag_id", "edges"),
    [
        ("arguments_alone", {"prepare": ["score", "train"], "train": ["score"]}),
        ("listed_outputs", {"train": ["score"]}),
        ("consumer_first", {"train": ["score"]}),
        ("no_data_no_edge", {}),
        ("run_after", {"first": ["third"], "second": ["third"]}),
        ("references", {"train": ["argued", "listed"]}),
        (
            "mixed",
            {
                "fit.choose": ["fit.train"],
                "extract": ["fit.train"],
                "fit.train": ["fit.check", "report"],
                "fit.check": ["notify"],
            },
        ),
        (
            "mapped",
            {"scoring.shards": ["scoring.score"], "train": ["scoring.score"], "scoring.score": ["merge"]},
        ),
    ],
)
def test_edges_follow_from_data_and_from_what_the_author_adds(
    parsed: Parsed, dag_id: str, edges: dict[str, list[str]]
) -> None:
    assert parsed.edges(dag_id) == edges


def test_a_step_without_a_name_is_called_after_its_script(parsed: Parsed) -> None:
    assert set(parsed.found["named_after_script"]["edges"]) == {
        "train.py",
        "score.py",
        "Train_twice",
        "Rscript_fit.R",
    }


@pytest.mark.parametrize(
    ("dag_id", "params"),
    [("parameters", {"lr": 0.1, "C": 1.5}), ("mapped", {"lr": 0.1, "rate": 0.5})],
)
def test_a_parameter_with_a_default_joins_the_params_of_the_dag(
    parsed: Parsed, dag_id: str, params: dict[str, Any]
) -> None:
    assert parsed.found[dag_id]["params"] == params


def test_what_a_mapped_step_is_not_given_before_it_runs_is_not_missed(parsed: Parsed) -> None:
    tasks = {"named", "listed", "told", "group.inherited"}
    assert tasks <= set(parsed.found["environments_by_instance"]["edges"])


def test_a_target_by_name_brings_its_pool(parsed: Parsed) -> None:
    assert '"pool": "gpus"' in parsed.found["target_by_name"]["text"]


def test_a_step_takes_a_trigger_rule_like_any_task(parsed: Parsed) -> None:
    assert '"trigger_rule": "all_done"' in parsed.found["mixed"]["text"]


def test_a_dag_serialises_to_the_same_in_every_process(both: tuple[Parsed, Parsed]) -> None:
    first, second = both
    assert {name: dag["hash"] for name, dag in first.found.items()} == {
        name: dag["hash"] for name, dag in second.found.items()
    }


def test_a_serialised_dag_holds_no_address_of_an_object(parsed: Parsed) -> None:
    assert not [name for name, dag in parsed.found.items() if " at 0x" in dag["text"]]


def test_parsing_reads_dag_files_and_nothing_that_they_name(parsed: Parsed) -> None:
    read = {Path(name) for name in parsed.seen["opened"] if name.endswith(".py")}
    assert {path.parent for path in read} == {Path()}
    assert "code/train.py" in parsed.control["opened"]


def test_parsing_hashes_nothing(parsed: Parsed) -> None:
    assert parsed.seen["hashers"] == []
    assert any(name.endswith("store/digest.py") for name in parsed.control["hashers"])


def test_parsing_opens_no_cache_and_no_datastore(parsed: Parsed) -> None:
    assert not [name for name in parsed.seen["databases"] if "digests.sqlite" in name]
    assert [name for name in parsed.control["databases"] if "digests.sqlite" in name]
    assert [path.name for path in (parsed.folder / "home-1").glob("mlpipe*")] == []
