"""Local files as datasets in a script, and models that it downloads: none is lost, none is an old one."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_mlpipe.errors import UserError
from airflow_mlpipe.records import InputSpec, Pin
from airflow_mlpipe.runtime.named_inputs import NamedInput
from airflow_mlpipe.runtime.script_datasets import Dataset, FileDataset
from airflow_mlpipe.runtime.script_models import Model


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with data/2025/part.csv, data/2026/part.csv, and one that looks like a pattern."""
    for name in ("2025/part.csv", "2026/part.csv", "2026/b[1].csv"):
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_text(f"name\n{name}\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "data"


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("data/*/part.csv", ["/2025/part.csv", "/2026/part.csv"]),
        ("data/*", ["/2025/part.csv", "/2026/b[1].csv", "/2026/part.csv"]),
        ("data/2026", ["/b[1].csv", "/part.csv"]),
        ("data/2026/b[1].csv", ["/b[1].csv"]),
        (["data/2025/part.csv", "data/2026/part.csv"], ["/2025/part.csv", "/2026/part.csv"]),
        (["data/2025", "data/2025/*.csv"], ["/part.csv"]),
    ],
)
def test_files_of_one_name_in_different_folders_are_all_there(
    path: str | list[str], names: list[str], data: Path
) -> None:
    assert Dataset.File.from_files(path).to_path() == names


def test_a_table_has_the_rows_of_all_files_that_match(data: Path) -> None:
    frame = Dataset.Tabular.from_delimited_files("data/*/part.csv").to_pandas_dataframe()
    assert sorted(frame["name"]) == ["2025/part.csv", "2026/part.csv"]


@pytest.mark.parametrize("path", ["data/2027", "data/*.parquet", ["data/2025", "gone/*"]])
def test_a_path_that_names_no_file_is_refused(path: str | list[str], data: Path) -> None:
    with pytest.raises(UserError, match="there is no file"):
        Dataset.File.from_files(path)


def test_a_mount_never_shows_the_files_of_another(data: Path, tmp_path: Path) -> None:
    def dataset(year: str) -> FileDataset:
        return Dataset.File.from_files(f"data/{year}/part.csv")

    dataset("2025").mount(str(tmp_path / "there")).start()
    dataset("2025").mount(str(tmp_path / "there")).start()
    with pytest.raises(UserError, match="is there already"):
        dataset("2026").mount(str(tmp_path / "there")).start()


def test_a_model_that_is_downloaded_again_is_the_declared_one(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store/model.bin").write_text("declared")
    (tmp_path / "model.bin").write_text("old")
    spec = InputSpec("file", [str(tmp_path / "store/model.bin")], pin=Pin("model", "digits", 3))
    model = Model.of(NamedInput("digits", spec))
    with pytest.raises(UserError, match="is there already"):
        model.download(str(tmp_path))
    path = model.download(str(tmp_path), exist_ok=True)
    assert Path(path).read_text() == "declared"
    assert model.download(str(tmp_path / "store"), exist_ok=True) == str(tmp_path / "store/model.bin")
    assert (tmp_path / "store/model.bin").read_text() == "declared"
