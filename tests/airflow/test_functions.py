"""Functions as steps: what they are called with, what they return, and when they are called again."""

from __future__ import annotations

import pandas
import pytest

from airflow_mlpipe import PipelineDataReference
from airflow_mlpipe.store.manifest import Manifest
from tests.airflow.harness import DagFiles

pytestmark = pytest.mark.airflow

RETRAIN = """
FACTOR = 3

def scaled(value):
    return FACTOR * value

@step
def prepare(rows: int, prepared: Output[Path]) -> None:
    prepared.mkdir()
    for row in range(rows):
        (prepared / f"{row}.txt").write_text(str(scaled(row)))

@step
def train(data: Input[Path], model: Output[Path], lr: float = 0.1) -> dict[str, Any]:
    total = sum(int(file.read_text()) for file in data.iterdir())
    model.write_text(str(total * lr))
    Run.get_context().log("total", total)
    return {"total": total, "lr": lr}

@step
def judge(total: int, model: Path) -> str:
    return f"{total} {model.read_text()}"
"""

CALLS = """
    fitted = train(prepare(rows={rows}), lr={lr})
    judge(fitted["total"], model=fitted["model"])
"""


@pytest.fixture
def retrain(dags: DagFiles) -> DagFiles:
    dags.functions(RETRAIN, CALLS.format(rows=4, lr=0.5))
    return dags


def test_functions_are_called_with_paths_and_values_and_their_results_go_on(retrain: DagFiles) -> None:
    run = retrain.run()
    assert run.state == "success", run.text
    assert run.returned("judge") == "18 9.0"
    assert run.returned("train") == {"total": 18, "lr": 0.5}
    assert run.xcoms["train"]["metrics"] == {"total": 18}
    assert isinstance(run.xcoms["train"]["model"], PipelineDataReference)
    assert run.returned("prepare") == run.xcoms["prepare"]["prepared"]


def test_nothing_is_called_again_when_nothing_changed(retrain: DagFiles) -> None:
    first, second = retrain.run(), retrain.run()
    assert set(first.actions.values()) == {"ran"}
    assert set(second.actions.values()) == {"reused"}
    assert second.returned("judge") == first.returned("judge")
    assert second.returned("train") == first.returned("train")


def test_a_default_that_is_passed_is_the_same_call(dags: DagFiles) -> None:
    dags.functions(RETRAIN, CALLS.format(rows=4, lr=0.1))
    dags.run()
    dags.functions(RETRAIN, CALLS.format(rows=4, lr=0.1).replace(", lr=0.1", ""))
    assert set(dags.run().actions.values()) == {"reused"}


def test_a_changed_helper_calls_the_functions_that_reach_it(retrain: DagFiles) -> None:
    retrain.run()
    retrain.functions(RETRAIN.replace("FACTOR * value", "FACTOR * value + 1"), CALLS.format(rows=4, lr=0.5))
    run = retrain.run()
    assert run.actions == {"prepare": "ran", "train": "ran", "judge": "ran"}
    assert "function prepare changed" in run.decision("prepare")["reason"]


def test_what_a_function_does_not_reach_does_not_matter(retrain: DagFiles) -> None:
    retrain.run()
    more = RETRAIN.replace("FACTOR = 3", "UNUSED = 5  # not reached\nFACTOR = 3  # a comment")
    retrain.functions(more, CALLS.format(rows=4, lr=0.5) + '    PipelineData("more")\n')
    assert set(retrain.run().actions.values()) == {"reused"}


def test_a_changed_parameter_calls_what_reads_it_and_the_reason_names_it(retrain: DagFiles) -> None:
    retrain.run()
    retrain.functions(RETRAIN, CALLS.format(rows=4, lr=0.25))
    run = retrain.run()
    assert run.actions == {"prepare": "reused", "train": "ran", "judge": "ran"}
    assert "lr" in run.decision("train")["reason"]


def test_equal_outputs_of_a_changed_function_disturb_nobody(retrain: DagFiles) -> None:
    retrain.run()
    retrain.functions(RETRAIN.replace("FACTOR * value", "value * FACTOR"), CALLS.format(rows=4, lr=0.5))
    run = retrain.run()
    assert run.actions == {"prepare": "ran", "train": "reused", "judge": "reused"}


def test_task_mlpipe_is_the_same_decorator(dags: DagFiles) -> None:
    dags.functions(RETRAIN, CALLS.format(rows=4, lr=0.5))
    dags.run()
    dags.functions(
        RETRAIN.replace("@step", "@task.mlpipe(retries=1)", 1).replace("@step", "@task.mlpipe"),
        CALLS.format(rows=4, lr=0.5),
    )
    assert set(dags.run().actions.values()) == {"reused"}


def test_functions_are_defined_where_the_dag_is(dags: DagFiles) -> None:
    dags.file(
        "nested.py",
        f"""
        from airflow.sdk import dag
        from airflow_mlpipe import step

        LIMIT = 2

        @dag(dag_id="{dags.dag_id("nested")}", schedule=None)
        def nested():
            @step(retries=0)
            def count(words: list[str]) -> int:
                '''Count the words.'''
                return len([word for word in words if len(word) > LIMIT])

            count(["a", "bcd", "efgh"])

        nested()
        """,
    )
    assert dags.run("nested").returned("count") == 2


def test_modules_of_the_bundle_come_along(dags: DagFiles) -> None:
    dags.file("features/__init__.py", "")
    dags.file("features/scale.py", "from features.base import BASE\n\ndef scaled(x):\n    return BASE * x\n")
    dags.file("features/base.py", "BASE = 10\n")
    dags.file("features/other.py", "raise RuntimeError\n")
    definitions = """
    from features.scale import scaled

    @step
    def use(x: int) -> int:
        return scaled(x)
    """
    dags.functions(definitions, "use(2)")
    assert dags.run().returned("use") == 20
    dags.file("features/other.py", "pass\n")
    assert dags.run().actions == {"use": "reused"}
    dags.file("features/base.py", "BASE = 11\n")
    assert dags.run().returned("use") == 22


def test_frames_arrays_and_named_results_travel_as_artifacts(dags: DagFiles) -> None:
    definitions = """
    import numpy as np
    import pandas as pd

    class Split(NamedTuple):
        train: pd.DataFrame
        test: pd.DataFrame
        rows: int

    @step
    def load(n: int) -> pd.DataFrame:
        return pd.DataFrame({"x": range(n), "y": [2.0 * i for i in range(n)]})

    @step
    def split(frame: pd.DataFrame) -> Split:
        return Split(frame[frame.x % 2 == 0], frame[frame.x % 2 == 1], len(frame))

    @step
    def total(frame: pd.DataFrame, rows: int) -> np.ndarray:
        return np.array([frame.y.sum(), rows])

    @step
    def both(values: list[np.ndarray]) -> list[float]:
        return [float(value.sum()) for value in values]

    @task
    def look(reference):
        return len(reference.load())
    """
    body = """
    parts = split(load(10))
    both([total(parts["train"], parts["rows"]), total(parts["test"], parts["rows"])])
    look(parts["train"])
    """
    dags.functions(definitions, body)
    run = dags.run()
    assert run.state == "success", run.text
    assert run.returned("both") == [50.0, 60.0]
    assert run.returned("look") == 5
    assert run.returned("split")["rows"] == 10
    assert isinstance(run.returned("load").load(), pandas.DataFrame)
    assert set(dags.run().actions.values()) == {"reused"}


def test_scripts_and_functions_read_each_others_outputs(dags: DagFiles) -> None:
    dags.script("write.py", "import sys; open(sys.argv[1], 'w').write('from a script')")
    dags.script("copy.py", "import sys, shutil; shutil.copy(sys.argv[1], sys.argv[2])")
    definitions = """
    @step
    def shout(text: Path, loud: Output[Path]) -> None:
        loud.write_text(text.read_text().upper())
    """
    body = """
    text, copied = PipelineData("text"), PipelineData("copied")
    PythonScriptStep(task_id="write", source_directory="src", script_name="write.py", arguments=[text])
    loud = shout(text)
    PythonScriptStep(
        task_id="copy", source_directory="src", script_name="copy.py", arguments=[loud["loud"], copied]
    )
    """
    dags.functions(definitions, body)
    assert dags.run().read("copy", "copied") == "FROM A SCRIPT"
    assert set(dags.run().actions.values()) == {"reused"}


def test_pipeline_parameters_have_the_values_of_the_run(dags: DagFiles) -> None:
    definitions = """
    @step
    def train(lr: Input[float], names: list[str]) -> str:
        return f"{lr} {names}"
    """
    dags.functions(
        definitions, 'train(PipelineParameter("lr", 0.1), names=["a", PipelineParameter("b", "x")])'
    )
    assert dags.run().returned("train") == "0.1 ['a', 'x']"
    assert dags.run(lr=1).returned("train") == "1.0 ['a', 'x']"


def test_mapped_functions_are_steps_of_their_own(dags: DagFiles) -> None:
    definitions = """
    @step
    def score(shard: int, factor: int) -> int:
        return shard * factor

    @step
    def gather(scores: list[int]) -> int:
        return sum(scores)
    """
    dags.functions(definitions, "gather(score.partial(factor=2).expand(shard=[1, 2, 3]))")
    assert dags.run().returned("gather") == 12
    dags.functions(definitions, "gather(score.partial(factor=2).expand(shard=[1, 2, 3, 4]))")
    run = dags.run()
    assert run.actions == {
        "score[0]": "reused", "score[1]": "reused", "score[2]": "reused", "score[3]": "ran", "gather": "ran",
    }  # fmt: skip
    assert run.returned("gather") == 20


def test_the_manifest_has_what_was_returned(retrain: DagFiles) -> None:
    manifest: Manifest = retrain.manifest(retrain.run(), "train")
    assert manifest.returned is not None
    assert manifest.returned.values == {"total": 18, "lr": 0.5}
    assert manifest.returned.unrolled
    assert set(manifest.outputs) == {"model"}


def test_a_function_that_ends_its_process_has_returned_nothing(dags: DagFiles) -> None:
    definitions = """
    @step
    def leave() -> int:
        raise SystemExit(0)
    """
    dags.functions(definitions, "leave()")
    run = dags.run()
    assert run.states == {"leave": "failed"}
    assert "step 'leave': the process ended well before the function had returned" in run.text
    assert not dags.sealed()


def test_the_author_says_whether_a_dict_unrolls(dags: DagFiles) -> None:
    definitions = """
    @step
    def measure() -> dict[str, int]:
        return {"a": 1}

    @step
    def count(values):
        return len(values)
    """
    dags.functions(definitions, "measure.override(multiple_outputs=False)()")
    run = dags.run()
    assert run.returned("measure") == {"a": 1}
    assert "a" not in run.xcoms["measure"]
    dags.functions(definitions, "count(measure())")
    run = dags.run()
    assert run.actions == {"measure": "ran", "count": "ran"}
    assert run.xcoms["measure"]["a"] == 1


def test_metrics_are_an_empty_dict_where_none_were_logged(dags: DagFiles) -> None:
    definitions = """
    @step
    def train(n: int) -> int:
        if n > 1:
            Run.get_context().log("n", n)
        return n

    @step
    def look(metrics: dict[str, Any]) -> dict[str, Any]:
        return metrics
    """
    dags.functions(definitions, 'look(train(1)["metrics"])\nlook(train(2)["metrics"])')
    run = dags.run()
    assert run.returned("look") == {}
    assert run.returned("look__1") == {"n": 2}
