"""Functions as steps where two things that look alike must not be taken for one another."""

from __future__ import annotations

import pytest

from tests.airflow.harness import DagFiles

pytestmark = pytest.mark.airflow


def test_libraries_that_come_with_the_data_count_although_nothing_imports_them(dags: DagFiles) -> None:
    definitions = """
    from typing import TYPE_CHECKING
    if TYPE_CHECKING:
        import pandas

    @step
    def load() -> Any:
        from pandas import DataFrame
        return DataFrame({"x": [1, 2]})

    @step
    def add_up(frame: "pandas.DataFrame") -> int:
        return int(frame.x.sum())

    @step
    def size(frame: Path) -> int:
        return frame.stat().st_size

    @step
    def count(rows: Any) -> int:
        return rows

    @step
    def tabulate(table) -> int:
        return len(table.to_pandas_dataframe())

    @step
    def keep(frame) -> Pickle[Any]:
        return frame

    @step
    def use(kept: Pickle[Any]) -> int:
        return len(kept)
    """
    body = """
    frame = load()
    add_up(frame)
    size(frame)
    count(3)
    tabulate(Dataset.Tabular.from_delimited_files("rows.csv"))
    use(keep(frame))
    """
    dags.file("rows.csv", "a\n1\n")
    dags.functions(definitions, body)
    run = dags.run()
    distributions = {
        step: dags.manifest(run, step).recipe["environment"]["distributions"] for step in run.actions
    }
    assert {"pandas", "scikit-learn", "numpy"} <= distributions["add_up"].keys()
    assert distributions["size"] == distributions["count"] == {}
    assert "pandas" in distributions["tabulate"]
    assert "scikit-learn" not in distributions["tabulate"]
    assert "pytest" in distributions["use"]


def test_a_default_that_json_cannot_hold_stays_the_functions_own(dags: DagFiles) -> None:
    definitions = """
    from enum import Enum, IntEnum

    class Color(str, Enum):
        RED = "red"

    class Level(IntEnum):
        LOW = 1

    @step
    def show(color: Color = Color.RED, level=Level.LOW, least: float = float("-inf"), no=float("nan")) -> str:
        return f"{color!r} {level!r} {least} {no}"
    """
    dags.functions(definitions, "show()")
    run = dags.run()
    assert run.returned("show") == "<Color.RED: 'red'> <Level.LOW: 1> -inf nan", run.text
    dags.functions(definitions.replace('RED = "red"', 'RED = "#f00"'), "show()")
    assert dags.run().actions == {"show": "ran"}


def test_none_of_a_task_is_a_value_where_the_annotation_says_so(dags: DagFiles) -> None:
    definitions = """
    @task
    def nothing():
        return None

    @step
    def show(path: Path | None, number: float | None) -> str:
        return f"{path} {number}"

    @step
    def size(path: Path) -> int:
        return path.stat().st_size
    """
    dags.functions(definitions, "none = nothing()\nshow(none, none)\nsize(none)")
    run = dags.run()
    assert run.returned("show") == "None None"
    assert run.states["size"] == "failed"
    assert "step 'size': parameter 'path' is a path and was given None, which is also what a task" in run.text


def test_values_beside_data_are_checked_as_well(dags: DagFiles) -> None:
    definitions = """
    import datetime

    @step
    def make(made: Output[Path]) -> None:
        made.write_text("made")

    @task
    def now():
        return datetime.datetime(2026, 1, 1)

    @step
    def show(items: list) -> str:
        return str(items)

    @step
    def size(path: Path) -> int:
        return path.stat().st_size
    """
    dags.functions(definitions, "made = make()\nshow([made, now()])\nsize({'a': made})")
    run = dags.run()
    assert run.states["show"] == run.states["size"] == "failed"
    assert "step 'show': parameter 'items'[1] is datetime.datetime(2026" in run.text
    assert "step 'size': parameter 'path' is a path and was given a dict that is none" in run.text


def test_the_keys_of_a_dict_of_data_name_no_other_folders(dags: DagFiles) -> None:
    dags.file("raw.txt", "raw")
    definitions = """
    @step
    def show(files: dict[str, Path]) -> list[str]:
        return sorted(f"{key}: {path.read_text()} in {path.parent.name}" for key, path in files.items())
    """
    body = """
    raw = Dataset.File.from_files("raw.txt")
    show({"../../../x": raw.as_download(), "a/b": raw.as_download(), "a b": raw.as_download()})
    """
    dags.functions(definitions, body)
    run = dags.run()
    assert run.returned("show") == [
        "../../../x: raw in files_.._.._.._x",
        "a b: raw in files_a_b_2",
        "a/b: raw in files_a_b",
    ], run.text


def test_a_key_that_is_no_part_of_a_url_is_found_in_the_whole_dict_alone(dags: DagFiles) -> None:
    definitions = """
    @step
    def measure() -> dict[str, int]:
        return {"a": 1, "a?b": 2, "a/b": 3, "a#b": 4, "a%2Fb": 5, "..": 6, "gr\u00fc\u00dfe": 7, "f (x)": 8}

    @step
    def show(first: int, mean: int, whole: dict[str, int]) -> list[int]:
        return [first, mean, *sorted(whole.values())]
    """
    dags.functions(definitions, 'm = measure()\nshow(m["a"], m["f (x)"], m)')
    run = dags.run()
    assert run.returned("show") == [1, 8, 1, 2, 3, 4, 5, 6, 7, 8], run.text
    assert run.xcoms["measure"].keys() - {"mlpipe_decision"} >= {"a", "f (x)", "return_value"}
    assert "Airflow cannot hand on '..', 'a#b'" in run.text


def test_a_dict_that_airflow_would_take_for_an_object_travels_as_it_is(dags: DagFiles) -> None:
    definitions = """
    @step
    def make() -> list[dict[str, str]]:
        return [{"__type": "dict", "__var": "x"}, {"__classname__": "os.path"}]

    @step
    def show(made: list[dict[str, str]]) -> str:
        return str(made)
    """
    dags.functions(definitions, "show(make())")
    assert dags.run().returned("show") == "[{'__type': 'dict', '__var': 'x'}, {'__classname__': 'os.path'}]"


def test_a_decorator_that_makes_steps_may_come_from_another_module(dags: DagFiles) -> None:
    dags.file("common.py", "from airflow_mlpipe import step\n\non_gpu = step(reuse_version='1')\n")
    definitions = """
    import common
    from common import on_gpu

    @on_gpu
    def add(x: int) -> int:
        return x + 1

    @common.on_gpu
    def double(x: int) -> int:
        return 2 * x
    """
    dags.functions(definitions, "add(2)\ndouble(2)")
    run = dags.run()
    assert run.returned("add") == 3, run.text
    assert dags.manifest(run, "add").recipe["code"]["files"].keys() == {"@function/add.py"}
    assert "double is a task here as well, because what makes it a step was not known for that" in run.text


def test_a_named_result_may_be_none_and_may_be_of_a_branch_that_was_not_taken(dags: DagFiles) -> None:
    definitions = """
    class Fitted(NamedTuple):
        best: float | None
        rounds: int

    @task.branch
    def choose():
        return "fit"

    @step
    def fit() -> Fitted:
        return Fitted(None, 3)

    @step
    def load(model: Output[Path]) -> dict:
        model.write_text("model")
        return {"rows": 1}

    @step(trigger_rule="none_failed_min_one_success")
    def report(best: float | None, rounds: int, model: Path | None) -> str:
        return f"{best} {rounds} {model}"

    @step(trigger_rule="none_failed_min_one_success")
    def strict(model: Path) -> str:
        return model.read_text()

    @step
    def misspelt(rows: Any) -> str:
        return str(rows)

    @step
    def measure() -> dict:
        return {"rows": 1, "gr\u00fc\u00dfe": 2}
    """
    body = """
    fitted, loaded = fit(), load()
    choose() >> [fitted, loaded]
    report(fitted["best"], fitted["rounds"], loaded["model"])
    strict(loaded["model"]) << fitted
    measured = measure()
    misspelt(measured["row"])
    misspelt.override(task_id="spelt")(measured["gr\u00fc\u00dfe"])
    """
    dags.functions(definitions, body)
    run = dags.run()
    assert run.returned("report") == "None 3 None", run.text
    assert run.xcoms["spelt"]["return_value"] == 2
    assert run.states["strict"] == run.states["misspelt"] == "failed"
    assert "step 'strict': parameter 'model' is a path and was given None" in run.text
    assert 'with key="row" is not found' in run.text
