"""What holds for the formats of all libraries: the same bytes anywhere, and a sentence where one lacks."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
import safetensors.numpy
from sklearn.linear_model import LogisticRegression

from airflow_mlpipe.records import to_json
from airflow_mlpipe.runtime.artifacts import registry
from airflow_mlpipe.runtime.artifacts.artifact import DESCRIPTOR, ArtifactDescriptor, write_artifact
from airflow_mlpipe.runtime.artifacts.estimators import HARMLESS

MAKE_ALL = """
import hashlib, json, sys, time
from pathlib import Path

time.time = lambda: float(sys.argv[2])  # what skops and zip files call now
import numpy as np, pandas as pd, polars as pl, pyarrow as pa
from matplotlib.figure import Figure
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.pipeline import make_pipeline
from sklearn.linear_model import LogisticRegression
from airflow_mlpipe.runtime.artifacts.artifact import write_artifact

pl.Series(sys.argv[3].split(","), dtype=pl.Categorical)  # a process remembers what it saw
texts, labels = ["some words of a text", "other words", "a third one", "the fourth text"], [0, 1, 0, 1]
words = {"words", "text", "third"}
rows = np.random.default_rng(0).random((40, 3))
figure = Figure(figsize=(1, 1), dpi=40)
figure.subplots().plot([1, 2])
values = {
    "pandas": pd.DataFrame({"n": [1, None], "c": pd.Categorical(["u", "v"])}, index=["a", "b"]),
    "series": pd.Series([1.5]),
    "polars": pl.DataFrame({"c": pl.Series(["u", "v", "u"], dtype=pl.Categorical), "l": [[1], [], None]}),
    "arrow": pa.table({"a": [1, None], "s": [{"k": 1}, None]}),
    "array": np.arange(6).reshape(2, 3),
    "texts": make_pipeline(CountVectorizer(vocabulary=words), LogisticRegression()).fit(texts, labels),
    "forest": RandomForestClassifier(3, random_state=0).fit(rows, [0, 1] * 20),
    "figure": figure,
}
digests = {}
for name, value in values.items():
    folder = Path(sys.argv[1]) / name
    write_artifact(value, folder)
    digests[name] = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}
(Path(sys.argv[1]) / "digests.json").write_text(json.dumps(digests))
"""

READ_WITHOUT = """
import sys
sys.modules[sys.argv[2]] = None  # as if it were not installed
from pathlib import Path
from airflow_mlpipe.errors import UserError
from airflow_mlpipe.runtime.artifacts.artifact import read_artifact
try:
    read_artifact(Path(sys.argv[1]))
except UserError as error:
    print(error)
"""


def test_the_bytes_do_not_depend_on_the_process_its_hash_seed_or_the_day(tmp_path: Path) -> None:
    circumstances = [("1", "1000000000", "u,v"), ("2", "1700000000", "zz,v,u")]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", MAKE_ALL, tmp_path / seed, now, seen],
            env={"PYTHONHASHSEED": seed, "MPLCONFIGDIR": str(tmp_path)},
        )
        for seed, now, seen in circumstances
    ]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    first, second = (json.loads((tmp_path / seed / "digests.json").read_text()) for seed in "12")
    assert first == second
    assert len(first) == 8


@pytest.mark.parametrize(
    ("kind", "missing", "sentence"),
    [
        ("parquet", "pyarrow", "needs pyarrow, .*pip_packages=\\['pyarrow'\\].*airflow-mlpipe\\[frames\\]"),
        ("parquet", "pandas", "needs pandas, .*pip_packages=\\['pandas'\\].*airflow-mlpipe\\[frames\\]"),
        ("polars", "polars", "needs polars, .*pip_packages=\\['polars'\\].*airflow-mlpipe\\[polars\\]"),
        ("npy", "numpy", "needs numpy, .*pip_packages=\\['numpy'\\]"),
        ("skops", "skops", "needs skops, .*pip_packages=\\['skops'\\].*airflow-mlpipe\\[sklearn\\]"),
        ("safetensors", "torch", "needs torch, .*pip_packages=\\['torch'\\]"),
    ],
)
def test_a_missing_library_is_named_with_how_to_get_it(
    tmp_path: Path, kind: str, missing: str, sentence: str
) -> None:
    folder = tmp_path / kind
    if kind == "safetensors":
        folder.mkdir()
        safetensors.numpy.save_file({"a": np.zeros(1)}, folder / "tensors.safetensors")
        descriptor = ArtifactDescriptor("safetensors", "dict", "tensors.safetensors")
        (folder / DESCRIPTOR).write_text(to_json(descriptor))
    else:
        values = {
            "parquet": pd.DataFrame({"a": [1]}),
            "polars": pl.DataFrame({"a": [1]}),
            "npy": np.zeros(1),
            "skops": LogisticRegression(),
        }
        write_artifact(values[kind], folder)
    done = subprocess.run(
        [sys.executable, "-c", READ_WITHOUT, folder, missing], capture_output=True, text=True, check=True
    )
    assert re.search(sentence, done.stdout), done.stdout


def test_every_format_and_the_types_that_need_no_trust_are_in_the_reference() -> None:
    page = (Path(__file__).parents[3] / "docs" / "reference" / "artifacts.md").read_text("utf8")
    for format in registry._built_in():
        assert f"| {format.name} | `{format.file}` |" in page
    for harmless in HARMLESS:
        assert f"`{harmless}`" in page
