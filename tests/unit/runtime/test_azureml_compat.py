"""Scripts of SDK v1, as their authors left them: they run on the stand-in for ``azureml``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from airflow_mlpipe.records import EarlierRun, EarlierRuns, InputSpec, OutputSpec, Pin, to_json
from airflow_mlpipe.runtime.metrics import collect
from airflow_mlpipe.runtime.registrations import registrations_in

SCRIPTS = Path(__file__).parents[2] / "fixtures" / "v1_scripts"
DELIMITED = {"format": "delimited"}


class Step:
    """An attempt at a script of SDK v1 that has the stand-in, in a working directory of its own."""

    def __init__(self, attempt: Any, folder: Path) -> None:
        self.attempt = attempt
        self.code = folder / "code"
        (self.code / "outputs").mkdir(parents=True)
        self.inputs: dict[str, InputSpec] = {}
        self.outputs: dict[str, OutputSpec] = {}
        self.environment: dict[str, str] = {}

    def run(self, script: str, *arguments: str) -> dict[str, Any]:
        """Run one of the scripts to its end; the metrics that it logged."""
        return self._finish(str(SCRIPTS / f"{script}.py"), *arguments)

    def run_code(self, code: str) -> str:
        """Run *code*; what it printed."""
        self._finish("-c", code)
        return str(self.attempt.log.read_text())

    def _finish(self, *arguments: str) -> dict[str, Any]:
        result = self.attempt.run(
            sys.executable,
            *arguments,
            working_directory=str(self.code),
            inputs=self.inputs,
            outputs=self.outputs,
            environment=self.environment,
            azureml_compat=True,
        )
        assert result.status == "succeeded", self.attempt.log.read_text()
        return collect(self.attempt.directory / "metrics.jsonl").metrics


@pytest.fixture
def step(attempt: Any, tmp_path: Path) -> Step:
    return Step(attempt, tmp_path)


def test_a_model_is_trained_dumped_uploaded_and_registered(step: Step, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    rows = [f"{number},{number % 3},{number % 2}" for number in range(20)]
    (tmp_path / "digits.csv").write_text("\n".join(rows))
    metrics = step.run("train_logistic", "--data-folder", str(tmp_path), "--regularization", "0.5")
    assert metrics["regularization rate"] == 0.5
    assert 0 <= metrics["accuracy"] <= 1
    (asked,) = registrations_in(step.attempt.directory)
    assert (asked.name, asked.inside) == ("sklearn_digits", "outputs/sklearn_digits_model.pkl")
    assert (step.code / asked.inside).is_file()


def test_a_tabular_input_becomes_a_frame(step: Step, tmp_path: Path) -> None:
    (tmp_path / "titanic.csv").write_text("Name,Survived,Age,Fare\nA,1,29.0,8.5\nB,0,,7.1\n")
    step.inputs["titanic"] = InputSpec("tabular", [str(tmp_path / "titanic.csv")], DELIMITED)
    assert step.run("prepare_titanic", "--output_cleanse", str(tmp_path / "out")) == {
        "raw_rows": 2,
        "processed_rows": 1,
    }
    assert (tmp_path / "out/processed.csv").read_text() == "Survived,Age,Fare\n1,29.0,8.5\n"


def test_a_dataset_is_found_by_the_id_in_the_arguments(step: Step, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x\n" + "1\n" * 10)
    step.inputs["rows"] = InputSpec("tabular", [str(tmp_path / "a.csv")], DELIMITED)
    step.environment["rows"] = "d1ge57"
    assert step.run("train_by_id", "--input-data", "d1ge57") == {"rows": 10, "split": 10}


def test_a_declared_model_is_found_by_its_name(step: Step, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model/thresholds.json").write_text('{"low": 0, "high": 0.5}')
    step.inputs["input"] = InputSpec("file", [str(tmp_path / "model")], pin=Pin("model", "labels", 3))
    step.run("score_with_model", "--model_name", "labels", "--scores", str(tmp_path / "out/scores.txt"))
    assert (tmp_path / "out/scores.txt").read_text() == "high"


def test_epochs_rows_tables_and_charts_are_logged(step: Step) -> None:
    metrics = step.run("log_epochs")
    assert metrics == {
        "Loss": [1.0, 0.5, 1 / 3],
        "Accuracy": [0.5, 1 - 1 / 3, 0.75],
        "primes": [2, 3, 5, 7],
        "sine": {"angle": [0, 45], "value": [0.0, 0.707]},
        "sizes": {"train": [80, 81], "test": [20, 19]},
        "confusion": "confusion.json",
    }
    collected = collect(step.attempt.directory / "metrics.jsonl")
    assert collected.parent_metrics == {"final loss": 1 / 3}
    assert collected.tags == {"Description": "My run description"}
    assert collected.properties == {"author": "azureml-user"}
    assert step.attempt.log.read_text() == "run-1 Running\n"


def test_the_best_of_the_earlier_steps_is_picked(step: Step, tmp_path: Path) -> None:
    runs = [
        EarlierRun("a-1", "train_a", -1, "Completed", 1.0, {"auc": 0.7}),
        EarlierRun("b-1", "train_b", -1, "Completed", 2.0, {"auc": 0.9}),
        EarlierRun("c-1", "train_c", -1, "Failed", 3.0),
    ]
    (step.attempt.directory / "children.json").write_text(to_json(EarlierRuns(runs)))
    step.run("pick_best", "--best", str(tmp_path / "best.txt"))
    assert (tmp_path / "best.txt").read_text() == "train_b"


def test_a_declared_dataset_is_mounted_and_downloaded(step: Step, tmp_path: Path) -> None:
    (tmp_path / "images/deep").mkdir(parents=True)
    (tmp_path / "images/a.png").write_bytes(b"aaa")
    (tmp_path / "images/deep/b.png").write_bytes(b"bb")
    step.inputs["input"] = InputSpec("file", [str(tmp_path / "images")], pin=Pin("dataset", "images", 2))
    assert step.run("mount_images") == {"mounted": 2, "downloaded": 2, "bytes": 5}
    assert step.attempt.log.read_text() == "version 2 ['/a.png', '/deep/b.png']\n"
    assert (step.code / "downloaded/deep/b.png").read_bytes() == b"bb"


def test_a_script_for_both_worlds_takes_its_way_and_may_import_what_it_does_not_use(step: Step) -> None:
    assert step.run("local_or_remote") == {"where": "pipeline"}
    assert "workspace airflow_mlpipe" in step.attempt.log.read_text()


def test_an_output_of_the_step_is_registered_as_a_model(step: Step, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model/metrics.json").write_text('{"mse": 0.25}')
    step.outputs["model"] = OutputSpec(str(tmp_path / "model"), create=False)
    step.run("register_model", "--model_name", "taxi", "--model_path", str(tmp_path / "model"))
    (asked,) = registrations_in(step.attempt.directory)
    assert (asked.name, asked.output, asked.inside) == ("taxi", "model", "")
    assert asked.tags == {"run_id": "manual-1", "mse": "0.25"}
    assert "Registered version None of model taxi" in step.attempt.log.read_text()


def test_a_table_is_read_from_a_local_file(step: Step, tmp_path: Path) -> None:
    (tmp_path / "bank.csv").write_text("marital,y\nmarried,yes\nsingle,no\nmarried,no\n")
    step.environment["bankmarketing"] = str(tmp_path / "bank.csv")
    assert step.run("udacity_train", "--C", "0.5", "--max_iter", "50") == {
        "Regularization Strength:": 0.5,
        "Max iterations:": 50,
        "Positive": 1,
        "Married": 2,
    }


def test_every_script_is_run_by_a_test() -> None:
    tests = Path(__file__).read_text()
    assert [path.stem for path in SCRIPTS.glob("*.py") if f'step.run("{path.stem}"' not in tests] == []


# -- what is not declared ----------------------------------------------------------------------------

UNDECLARED = [
    (
        'Dataset.get_by_name(None, "raw")',
        "this step declares no dataset 'raw', only: 'images'; declare it in the DAG: "
        'inputs=[Dataset.get_by_name("raw")]',
    ),
    (
        'Dataset.get_by_name(None, "images", version=7)',
        "this step uses version 2 of dataset 'images', and its script asks for version 7; declare that one: "
        'inputs=[Dataset.get_by_name("images", version=7)]',
    ),
    (
        'Workspace.from_config().datasets["raw"]',
        "this step has no dataset named 'raw'; it has: 'images'; declare it in the DAG: "
        'inputs=[Dataset.get_by_name("raw")]',
    ),
    (
        'Model.get_model_path("digits")',
        "this step declares no model 'digits', only: none at all; declare it in the DAG: "
        'inputs=[Model("digits")]',
    ),
    (
        'Dataset.Tabular.from_delimited_files("https://example.org/bank.csv")',
        "'https://example.org/bank.csv' is no local path, and what a script reads from elsewhere does not "
        "count when its outputs are reused; declare it in the DAG: "
        'inputs=[Dataset.File.from_files("s3://bucket/raw/").as_named_input("raw")]',
    ),
    (
        'Workspace.from_config().get_default_datastore().upload("outputs")',
        "Datastore.upload is not supported in a step: let the step write to an "
        "OutputFileDatasetConfig(destination=(Datastore(...), path))",
    ),
]


def test_what_is_not_declared_is_refused_with_what_to_write(step: Step, tmp_path: Path) -> None:
    step.inputs["input"] = InputSpec("file", [str(tmp_path)], pin=Pin("dataset", "images", 2))
    calls = [call for call, _ in UNDECLARED]
    said = step.run_code(
        "import json\n"
        "from azureml.core import Dataset, Model, Workspace\n"
        f"for call in {calls!r}:\n"
        "    try: eval(call)\n"
        "    except Exception as error: print(json.dumps(str(error)))\n"
    )
    told = [json.loads(line) for line in said.splitlines() if line.startswith('"')]
    assert told == [sentence for _, sentence in UNDECLARED]


def test_an_undeclared_name_that_the_script_gets_over_is_still_in_the_log(step: Step) -> None:
    said = step.run_code(
        "from azureml.core import Model\n"
        "try: Model(None, 'digits')\n"
        "except Exception: print('there is no model yet')\n"
    )
    assert "airflow_mlpipe: this step declares no model 'digits'" in said


# -- what is not supported ---------------------------------------------------------------------------


UNSUPPORTED = [
    (
        "from azureml.core import Environment; Environment('train')",
        "azureml.core.environment.Environment is not supported by airflow_mlpipe's stand-in for azureml: "
        "it is for the DAG; write environment=Environment(pip_packages=[...])",
    ),
    (
        "from azureml.core import AksWebservice",
        "azureml.core.AksWebservice is not supported by airflow_mlpipe's stand-in for azureml; remove it "
        "from the script, or give the step azureml_compat=False and the real package",
    ),
    (
        "from azureml.core.run import get_run",
        "azureml.core.run.get_run is not supported by airflow_mlpipe's stand-in for azureml; remove it "
        "from the script, or give the step azureml_compat=False and the real package",
    ),
    (
        "import azureml.pipeline.steps",
        "azureml.pipeline is not supported by airflow_mlpipe's stand-in for azureml; remove it "
        "from the script, or give the step azureml_compat=False and the real package",
    ),
    (
        "from azureml.core import Run; Run.get_context().child_run('fold')",
        "Run.child_run is not supported in a step: a step has no runs below it; make each part a step of "
        "the DAG, or log to this run",
    ),
]


def test_what_is_not_supported_says_so_and_what_to_do(step: Step) -> None:
    said = step.run_code(
        "import json\n"
        f"for code in {[code for code, _ in UNSUPPORTED]!r}:\n"
        "    try: exec(code)\n"
        "    except Exception as error: print(json.dumps(str(error)))\n"
    )
    assert [json.loads(line) for line in said.splitlines()] == [sentence for _, sentence in UNSUPPORTED]


def test_modules_are_attributes_of_their_packages(step: Step) -> None:
    said = step.run_code(
        "import azureml.core\n"
        "print(azureml.core.model.Model is azureml.core.Model, hasattr(azureml.core, '__path__'))\n"
    )
    assert said == "True True\n"


def test_without_the_stand_in_there_is_no_azureml(step: Step) -> None:
    result = step.attempt.run(sys.executable, "-c", "import azureml")
    assert result.last_lines[-1] == "ModuleNotFoundError: No module named 'azureml'"
