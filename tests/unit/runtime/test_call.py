"""The call of a step's function, in a process of its own as a worker starts it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from airflow_mlpipe.records import CallSpec, InputSpec, OutputSpec, ReturnedValues, from_json
from airflow_mlpipe.runtime.annotations import Pickle
from airflow_mlpipe.runtime.artifacts.artifact import read_artifact, read_descriptor, write_artifact
from airflow_mlpipe.targets.runtime_bundle import runtime_bundle


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str
    returned: ReturnedValues | None


@dataclass(frozen=True)
class Caller:
    """Calls functions of one attempt; each test makes one call."""

    attempt: Any
    folder: Path

    @property
    def artifacts(self) -> Path:
        return self.folder / "outputs"

    def __call__(
        self,
        source: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        inputs: Mapping[str, Any] | None = None,
        outputs: tuple[str, ...] = (),
        python: tuple[str, ...] = (sys.executable,),
        inherited: Mapping[str, str] | None = None,
        **call: Any,
    ) -> Ended:
        work = self.folder / "work"
        (work / "@function").mkdir(parents=True)
        (work / "@function" / "train.py").write_text(dedent(source))
        self.artifacts.mkdir()
        spec = self.attempt.spec(
            inputs={name: InputSpec("file", [str(path)]) for name, path in (inputs or {}).items()},
            outputs={name: OutputSpec(str(self.artifacts / name), False) for name in outputs},
            call=CallSpec(
                "@function.train",
                "train",
                str(self.artifacts),
                parameters={
                    **{name: {"value": value} for name, value in (parameters or {}).items()},
                    **{name: {"input": name} for name in (inputs or {})},
                },
                outputs=list(outputs),
                **call,
            ),
        )
        ended = subprocess.run(
            [*python, "-m", "airflow_mlpipe.runtime.call"],
            cwd=work,
            env={**os.environ, "MLPIPE_SPEC": str(self.attempt.write(spec)), **(inherited or {})},
            capture_output=True,
            text=True,
            timeout=60,
        )
        path = self.attempt.directory / "returned.json"
        returned = from_json(ReturnedValues, path.read_bytes()) if path.exists() else None
        return Ended(ended.returncode, ended.stdout, ended.stderr, returned)


@pytest.fixture
def call(attempt: Any, tmp_path: Path) -> Caller:
    return Caller(attempt, tmp_path)


def refusal(ended: Ended) -> str:
    """The one line that a refused call says on standard error."""
    assert (ended.code, ended.returned) == (2, None), ended
    (line,) = ended.err.splitlines()
    assert line.startswith("airflow_mlpipe: ")
    return line.removeprefix("airflow_mlpipe: ")


def test_a_function_gets_its_values_and_hands_on_what_it_returns(call: Caller) -> None:
    ended = call(
        "def train(lr, layers, name=None): return {'lr': lr, 'n': len(layers), 'name': name}",
        {"lr": 0.1, "layers": [8, 8]},
    )
    assert ended == Ended(0, "", "", ReturnedValues({"return_value": {"lr": 0.1, "n": 2, "name": None}}))


def test_a_function_that_returns_nothing_hands_on_nothing(call: Caller) -> None:
    assert call("def train(): pass").returned == ReturnedValues()


def test_outputs_are_paths_for_the_function_to_fill(call: Caller) -> None:
    ended = call(
        """
        from pathlib import Path
        from airflow_mlpipe.runtime.annotations import Input, Output, OUTPUT

        def train(data: Input[Path], model: Output[Path], report: Output[Path] = OUTPUT) -> None:
            model.mkdir()
            (model / "weights").write_text(data.read_text() * 2)
            report.write_text("fine")
        """,
        inputs={"data": _written(call.folder / "data.txt", "ab")},
        outputs=("model", "report"),
    )
    assert (ended.code, ended.returned) == (0, ReturnedValues())
    assert (call.artifacts / "model" / "weights").read_text() == "abab"
    assert (call.artifacts / "report").read_text() == "fine"


def test_what_is_no_small_json_becomes_an_artifact(call: Caller) -> None:
    ended = call("def train(): return b'weights'")
    assert ended.returned == ReturnedValues(artifacts=["return_value"])
    assert read_artifact(call.artifacts / "return_value") == b"weights"


def test_an_artifact_is_the_value_again(call: Caller) -> None:
    write_artifact(b"weights", call.folder / "model")
    ended = call("def train(model: bytes): return model.decode()", inputs={"model": call.folder / "model"})
    assert ended.returned == ReturnedValues({"return_value": "weights"})


def test_too_much_json_for_a_message_is_an_artifact_and_the_log_says_so(call: Caller) -> None:
    ended = call("def train(): return {'log': 'x' * 300_000, 'n': 1}", unrolls=True)
    assert ended.returned == ReturnedValues({"n": 1}, ["log"], unrolled=True)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith(
        "airflow_mlpipe: what train returned under 'log' is 300,002 bytes of JSON, more"
    )
    assert read_artifact(call.artifacts / "log") == "x" * 300_000


def test_fields_of_a_class_beside_the_function_unroll(call: Caller) -> None:
    ended = call(
        """
        from __future__ import annotations
        from typing import NamedTuple

        class Fitted(NamedTuple):
            loss: float
            model: bytes

        def train() -> Fitted: return Fitted(0.5, b"w")
        """,
        unrolls=True,
        fields=["loss", "model"],
    )
    assert ended.returned == ReturnedValues({"loss": 0.5}, ["model"], unrolled=True), ended.err


PICKLED = """
from __future__ import annotations
from typing import Any
from airflow_mlpipe.runtime.annotations import Pickle

class Model:
    def __init__(self, weight): self.weight = weight
"""


def test_only_what_is_marked_is_pickled(call: Caller) -> None:
    ended = call(
        PICKLED + "def train() -> dict[str, Pickle[Model]]: return {'model': Model(2)}", unrolls=True
    )
    assert ended.returned == ReturnedValues({}, ["model"], unrolled=True), ended.err
    assert read_descriptor(call.artifacts / "model").format == "pickle"


def test_the_unmarked_is_not_pickled(call: Caller) -> None:
    line = refusal(call(PICKLED + "def train() -> Model: return Model(2)"))
    assert line.startswith(
        "what train returned cannot be handed on: no artifact format writes the type @function.train.Model; "
    )
    assert "Pickle[...]" in line


def test_a_class_beside_two_functions_is_unpickled_as_the_reader_has_it(call: Caller) -> None:
    """The producer's module is ``@function.fit``, which the consumer's process does not have."""
    write_artifact(1j, call.folder / "model", Pickle[complex])
    pickled = b"\x80\x05c@function.fit\nModel\n)\x81}\x8c\x06weightK\x02sb."
    (call.folder / "model" / "data.pickle").write_bytes(pickled)
    ended = call(
        PICKLED + "def train(model: Pickle[Model]): return [type(model) is Model, model.weight]",
        inputs={"model": call.folder / "model"},
    )
    assert ended.returned == ReturnedValues({"return_value": [True, 2]}), ended.err


def test_a_registered_format_takes_a_type_of_the_author(call: Caller) -> None:
    source = """
    from pathlib import Path
    from airflow_mlpipe import ArtifactFormat, register_artifact

    class Card:
        def __init__(self, text): self.text = text

    @register_artifact
    class Cards(ArtifactFormat):
        name, file, types = "card", "card.txt", (Card,)
        def write(self, value, path): path.write_text(value.text)
        def read(self, path, wanted): return Card(path.read_text())

    def train(): return Card("fine")
    """
    ended = call(source)
    assert ended.returned == ReturnedValues(artifacts=["return_value"]), ended.err
    assert read_descriptor(call.artifacts / "return_value").format == "card"
    assert (call.artifacts / "return_value" / "card.txt").read_text() == "fine"


def test_a_return_that_does_not_fit_is_refused_in_one_line(call: Caller) -> None:
    line = refusal(call("def train(model): return {'model': 2}", unrolls=True, outputs=("model",)))
    assert line == (
        "'model' is written twice: by the Output parameter of that name and by what train returned; "
        "give one of them another name"
    )


def test_a_value_of_another_type_than_annotated_is_refused_in_one_line(call: Caller) -> None:
    write_artifact(b"weights", call.folder / "model")
    line = refusal(call("def train(model: dict): pass", inputs={"model": call.folder / "model"}))
    assert line == (
        "train cannot be given its parameter 'model': it is of type bytes, an artifact of the format bytes, "
        "and not dict; change the annotation, or what the step that made it returns"
    )


def test_a_format_without_its_library_is_refused_in_one_line(call: Caller) -> None:
    write_artifact(b"weights", call.folder / "model")
    descriptor = (call.folder / "model" / ".mlpipe-artifact.json").read_text()
    (call.folder / "model" / ".mlpipe-artifact.json").write_text(
        descriptor.replace('"bytes"', '"parquet"', 1)
    )
    (call.folder / "work").mkdir()
    _written(call.folder / "work" / "pyarrow.py", "raise ImportError('hidden')")
    line = refusal(call("def train(model): pass", inputs={"model": call.folder / "model"}))
    assert "train cannot be given its parameter 'model': " in line
    assert "parquet needs pyarrow" in line


def test_an_annotation_that_cannot_be_evaluated_asks_for_nothing_and_the_log_says_so(call: Caller) -> None:
    write_artifact(b"weights", call.folder / "model")
    ended = call(
        """
        from __future__ import annotations
        def train(model: Missing, data: bytes, n: Missing, raw: t.bytes) -> Missing:
            return [type(model).__name__, n]
        """,
        {"n": 1},
        inputs={"model": call.folder / "model", "data": call.folder / "model", "raw": call.folder / "model"},
    )
    assert ended.returned == ReturnedValues({"return_value": ["bytes", 1]})
    assert ended.out == (
        "airflow_mlpipe: the annotation of 'model' cannot be evaluated in the step's process "
        "(name 'Missing' is not defined), so its value is handed over as if there were none\n"
    )


RAISES = """
def fail():
    raise ValueError("too hot")

def train():
    fail()
"""


def test_what_the_function_raises_is_shown_from_the_functions_own_line_on(call: Caller) -> None:
    ended = call(RAISES)
    assert (ended.code, ended.returned) == (1, None)
    lines = ended.err.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-1] == "ValueError: too hot"
    assert [line for line in lines if line.startswith("  File")] == [
        f'  File "{call.folder}/work/@function/train.py", line 6, in train',
        f'  File "{call.folder}/work/@function/train.py", line 3, in fail',
    ]


def test_what_the_module_raises_is_shown_from_its_own_line_on(call: Caller) -> None:
    ended = call("import no_such_library\ndef train(): pass")
    assert (ended.code, ended.returned) == (1, None)
    assert [line for line in ended.err.splitlines() if line.startswith("  File")] == [
        f'  File "{call.folder}/work/@function/train.py", line 1, in <module>'
    ]
    assert ended.err.endswith("ModuleNotFoundError: No module named 'no_such_library'\n")


def test_an_error_of_ours_that_the_function_raises_is_its_own(call: Caller) -> None:
    ended = call("from airflow_mlpipe.errors import UserError\ndef train(): raise UserError('no data')")
    assert ended.code == 1
    assert ended.err.startswith("Traceback")


@pytest.mark.parametrize(("argument", "code"), [("", 0), ("3", 3), ("'over'", 1)])
def test_an_exit_is_the_functions_own_and_leaves_nothing_returned(
    call: Caller, argument: str, code: int
) -> None:
    ended = call(f"import sys\ndef train(): sys.exit({argument})")
    assert (ended.code, ended.returned) == (code, None)


def test_a_spec_that_asks_for_no_call_is_refused(attempt: Any, tmp_path: Path) -> None:
    for spec, sentence in [
        (str(attempt.write(attempt.spec("true"))), "names no launch spec that asks for the call"),
        ("", "names no launch spec that asks for the call"),
        ("/no/spec.json", "names '/no/spec.json', which cannot be read"),
    ]:
        ended = subprocess.run(
            [sys.executable, "-m", "airflow_mlpipe.runtime.call"],
            env={**os.environ, "MLPIPE_SPEC": spec},
            capture_output=True,
            text=True,
        )
        assert ended.returncode == 2
        assert sentence in ended.stderr


def test_the_bundle_makes_calls_where_the_package_is_not_installed(call: Caller) -> None:
    bundle = runtime_bundle(call.folder / "cache")
    ended = call(
        """
        import airflow_mlpipe, os
        from airflow_mlpipe import Input, Output, register_artifact

        def train(lr: Input[float]):
            assert os.environ["BUNDLE"] in airflow_mlpipe.__file__
            return {"lr": lr, "raw": b"bytes"}
        """,
        {"lr": 0.5},
        unrolls=True,
        python=(sys.executable, "-S"),  # without site-packages there is no package but the bundle's
        inherited={"PYTHONPATH": str(bundle / "fallback"), "BUNDLE": str(bundle)},
    )
    assert ended.returned == ReturnedValues({"lr": 0.5}, ["raw"], unrolled=True), ended.err


def test_the_working_directory_comes_first_even_on_the_safe_path(call: Caller) -> None:
    ended = call("def train(): return 1", inherited={"PYTHONSAFEPATH": "1"})
    assert ended.returned == ReturnedValues({"return_value": 1}), ended.err


def _written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path
