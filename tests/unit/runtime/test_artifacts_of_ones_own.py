"""What the reference page shows: a format for a type of one's own, and trust in the parts of a forest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
from sklearn.ensemble import RandomForestClassifier

from airflow_mlpipe.reuse.shaking import shake
from airflow_mlpipe.runtime.artifacts import registry
from airflow_mlpipe.runtime.artifacts.artifact import read_artifact, write_artifact

SPARSE = '''\
from pathlib import Path
from typing import Any

from airflow_mlpipe import ArtifactFormat, register_artifact, step


@register_artifact
class SparseMatrices(ArtifactFormat):
    """Matrices of scipy in compressed rows, in scipy's own file."""

    name = "scipy-npz"
    file = "matrix.npz"
    types = ("scipy.sparse._csr.csr_matrix", "scipy.sparse._csr.csr_array")

    def write(self, value: Any, path: Path) -> None:
        self.library("scipy.sparse", package="scipy").save_npz(path, value)

    def read(self, path: Path, wanted: str) -> Any:
        return self.library("scipy.sparse", package="scipy").load_npz(path)
'''

FOREST = """\
from airflow_mlpipe import register_artifact, step
from airflow_mlpipe.runtime.artifacts.estimators import Estimators

register_artifact(Estimators(trusted=["sklearn.tree._tree.Tree"]))
"""

STEP = """

@step
def score(model):
    return 1
"""


@pytest.fixture(autouse=True)
def _nothing_stays_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_registered", {})


def ship(module: str) -> None:
    """Run what would be shipped of *module* with a step in it, as the step's process does."""
    source = module + STEP
    line = source.splitlines().index("@step") + 1
    shaken = shake(source, name="score", line=line, package="", who="step 'score'")
    exec(compile(shaken.source, "score.py", "exec"), {"__name__": "@function.score"})


def test_a_format_of_ones_own_is_shipped_with_the_step_and_used(tmp_path: Path) -> None:
    ship(SPARSE)
    matrix = scipy.sparse.csr_matrix(np.eye(3))
    assert write_artifact(matrix, tmp_path / "matrix").format == "scipy-npz"
    back = read_artifact(tmp_path / "matrix", scipy.sparse.csr_matrix)
    np.testing.assert_array_equal(back.toarray(), np.eye(3))


def test_trust_in_a_type_is_shipped_with_the_step_and_used(tmp_path: Path) -> None:
    ship(FOREST)
    rows, labels = np.random.default_rng(0).random((20, 2)), [0, 1] * 10
    model = RandomForestClassifier(2, random_state=0).fit(rows, labels)
    write_artifact(model, tmp_path / "model")
    np.testing.assert_array_equal(read_artifact(tmp_path / "model").predict(rows), model.predict(rows))
