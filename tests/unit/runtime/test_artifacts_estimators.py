from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from sklearn.base import BaseEstimator
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import Birch
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC

from airflow_mlpipe.errors import DefinitionError, DocumentError, UserError
from airflow_mlpipe.runtime.artifacts import registry
from airflow_mlpipe.runtime.artifacts.artifact import read_artifact, write_artifact
from airflow_mlpipe.runtime.artifacts.estimators import Estimators
from airflow_mlpipe.runtime.artifacts.registry import register_artifact

FILE = "model.skops"
TREE = "sklearn.tree._tree.Tree"
ROWS = np.random.default_rng(0).random((40, 3))
LABELS = (ROWS[:, 0] > 0.5).astype(int)


@pytest.fixture(autouse=True)
def _nothing_stays_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_registered", {})


def pipeline() -> Pipeline:
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(ROWS, LABELS)


def forest() -> RandomForestClassifier:
    return RandomForestClassifier(n_estimators=3, random_state=0).fit(ROWS, LABELS)


def written(value: Any, folder: Path) -> bytes:
    write_artifact(value, folder)
    return (folder / FILE).read_bytes()


def edit_schema(folder: Path, **changes: str) -> None:
    """Rewrite the model's file as somebody with bad intentions would."""
    path = folder / FILE
    with zipfile.ZipFile(path) as source:
        members = {name: source.read(name) for name in source.namelist()}
    members["schema.json"] = json.dumps(json.loads(members["schema.json"]) | changes).encode()
    with zipfile.ZipFile(path, "w") as target:
        for name, content in members.items():
            target.writestr(name, content)


@pytest.mark.parametrize("wanted", [Any, BaseEstimator, Pipeline])
def test_a_fitted_pipeline_predicts_as_before(tmp_path: Path, wanted: Any) -> None:
    model = pipeline()
    write_artifact(model, tmp_path / "model")
    back = read_artifact(tmp_path / "model", wanted)
    np.testing.assert_array_equal(back.predict_proba(ROWS), model.predict_proba(ROWS))


@pytest.mark.parametrize(
    "model",
    [
        SVC(),
        SGDClassifier(random_state=0),
        GaussianNB(),
        MLPClassifier((4,), max_iter=3, random_state=0),
        MLPClassifier((4,), solver="sgd", max_iter=3, random_state=0),
        GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=2),
        CalibratedClassifierCV(LogisticRegression(), cv=2),
        make_pipeline(FunctionTransformer(np.exp), PCA(2), LogisticRegression()),
    ],
    ids=lambda model: type(model).__name__,
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_common_models_are_read_without_trusting_anything_more(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], model: Any
) -> None:
    write_artifact(model.fit(ROWS, LABELS), tmp_path / "model")
    np.testing.assert_array_equal(read_artifact(tmp_path / "model").predict(ROWS), model.predict(ROWS))
    assert capsys.readouterr().out == ""


def test_a_file_has_no_time_and_no_address_in_it(tmp_path: Path) -> None:
    written(pipeline(), tmp_path / "model")
    with zipfile.ZipFile(tmp_path / "model" / FILE) as archive:
        assert {member.date_time for member in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        names = archive.namelist()
        assert names == [*(f"{number}.npy" for number in range(1, len(names))), "schema.json"]


def test_equal_models_are_equal_files_and_others_are_not(tmp_path: Path) -> None:
    model = pipeline()
    first = written(model, tmp_path / "a")
    assert first == written(pipeline(), tmp_path / "b")
    assert first == written(read_artifact(tmp_path / "a"), tmp_path / "read")
    other = make_pipeline(StandardScaler(), LogisticRegression()).fit(ROWS, 1 - LABELS)
    assert first != written(other, tmp_path / "c")


def test_sets_in_a_model_keep_their_values_but_no_order(tmp_path: Path) -> None:
    forwards, backwards = {0, 8}, {8, 0}
    assert list(forwards) != list(backwards)
    first = written(CountVectorizer(vocabulary=forwards), tmp_path / "a")
    assert first == written(CountVectorizer(vocabulary=backwards), tmp_path / "b")
    assert read_artifact(tmp_path / "a").vocabulary == forwards


def test_an_array_that_is_there_twice_is_stored_once_and_is_one_again(tmp_path: Path) -> None:
    shared = np.arange(3.0)
    model = LogisticRegression().set_params(C=shared, class_weight={"file": shared, "__id__": "x"})
    write_artifact(model, tmp_path / "model")
    with zipfile.ZipFile(tmp_path / "model" / FILE) as archive:
        assert archive.namelist() == ["1.npy", "schema.json"]
    back = read_artifact(tmp_path / "model")
    assert back.C is back.class_weight["file"]
    assert back.class_weight["__id__"] == "x"


def test_the_file_is_one_that_skops_itself_reads(tmp_path: Path) -> None:
    back = skops.io.loads(written(pipeline(), tmp_path / "model"))
    np.testing.assert_array_equal(back.predict(ROWS), pipeline().predict(ROWS))


def test_a_type_that_skops_does_not_trust_is_refused_with_the_line_that_trusts_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_artifact(forest(), tmp_path / "model")
    assert capsys.readouterr().out == f"A step that takes this model has to trust {TREE}\n"
    with pytest.raises(
        UserError, match=rf"it holds {TREE}, .*register_artifact\(Estimators\(trusted=\['{TREE}'\]\)\)"
    ):
        read_artifact(tmp_path / "model")


@pytest.mark.parametrize("named", [str, type])
def test_a_type_that_the_author_trusts_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], named: type
) -> None:
    model = forest()
    tree = type(model.estimators_[0].tree_)
    register_artifact(Estimators(trusted=[TREE if named is str else tree]))
    write_artifact(model, tmp_path / "model")
    assert capsys.readouterr().out == ""
    np.testing.assert_array_equal(read_artifact(tmp_path / "model").predict(ROWS), model.predict(ROWS))


@pytest.mark.parametrize(
    ("loader", "module", "kind"),
    [
        ("ConstructorFromReduceNode", "os", "mkdir"),
        ("ObjectNode", "subprocess", "Popen"),
        ("FunctionNode", "os", "system"),
        ("TypeNode", "airflow_mlpipe_exploding_module", "Anything"),
    ],
)
def test_a_file_made_to_run_code_is_refused_before_anything_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loader: str, module: str, kind: str
) -> None:
    write_artifact(LogisticRegression(), tmp_path / "model")
    edit_schema(tmp_path / "model", __loader__=loader, __module__=module, __class__=kind)
    (tmp_path / "airflow_mlpipe_exploding_module.py").write_text("open('exploded', 'w')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UserError, match=f"it holds .*{module}.{kind}, .*which skops does not trust"):
        read_artifact(tmp_path / "model")
    assert not (tmp_path / "exploded").exists()


def test_trust_in_one_type_is_no_trust_in_another(tmp_path: Path) -> None:
    register_artifact(Estimators(trusted=[TREE]))
    write_artifact(LogisticRegression(), tmp_path / "model")
    edit_schema(tmp_path / "model", __loader__="ObjectNode", __module__="subprocess", __class__="Popen")
    with pytest.raises(
        UserError, match=rf"it holds subprocess.Popen, .*trusted=\['{TREE}', 'subprocess.Popen'\]"
    ):
        read_artifact(tmp_path / "model")


def test_a_class_that_cannot_be_imported_by_the_reader_is_a_sentence(tmp_path: Path) -> None:
    register_artifact(Estimators(trusted=["cleaning.Clip"]))
    write_artifact(LogisticRegression(), tmp_path / "model")
    edit_schema(tmp_path / "model", __module__="cleaning", __class__="Clip")
    with pytest.raises(UserError, match=r"No module named 'cleaning'; what it is made of must be importable"):
        read_artifact(tmp_path / "model")


@pytest.mark.parametrize("module", ["@function.train", "__main__"])
def test_a_class_or_function_of_the_steps_own_module_is_refused_where_it_is_written(
    tmp_path: Path, module: str
) -> None:
    def clip(rows: Any) -> Any:
        return rows

    clip.__module__ = module
    with pytest.raises(
        UserError, match=rf"the model holds {module}.clip, .* move it to a module beside the DAG file"
    ):
        write_artifact(FunctionTransformer(clip), tmp_path / "model")


def test_what_skops_cannot_write_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"skops cannot write a Birch: .*annotate it as Pickle"):
        write_artifact(Birch(), tmp_path / "model")


@pytest.mark.parametrize("trusted", [TREE, [1], [None]])
def test_trusted_is_a_list_of_types(trusted: Any) -> None:
    with pytest.raises(DefinitionError, match="it is a list of classes or of their dotted names"):
        Estimators(trusted=trusted)


@pytest.mark.parametrize("kept", [0, 100, -1])
def test_a_truncated_file_is_damaged(tmp_path: Path, kept: int) -> None:
    content = written(pipeline(), tmp_path / "model")
    (tmp_path / "model" / FILE).write_bytes(content[:kept])
    with pytest.raises(DocumentError, match=r"cannot be read as a skops file: .*; run its producer again"):
        read_artifact(tmp_path / "model")


@pytest.mark.parametrize("schema", ["", "[]", "{}", '{"protocol": 2}'])
def test_an_archive_of_something_else_is_damaged(tmp_path: Path, schema: str) -> None:
    write_artifact(LogisticRegression(), tmp_path / "model")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("schema.json", schema)
    (tmp_path / "model" / FILE).write_bytes(buffer.getvalue())
    with pytest.raises(DocumentError, match="cannot be read as a skops file"):
        read_artifact(tmp_path / "model")
