from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.figure import Figure

from airflow_mlpipe.errors import UserError
from airflow_mlpipe.runtime.artifacts.artifact import read_artifact, write_artifact

PNG = b"\x89PNG\r\n\x1a\n"


def figure(*heights: float) -> Figure:
    drawn = Figure(figsize=(1, 1), dpi=40)
    drawn.subplots().plot(heights)
    return drawn


def test_a_figure_is_read_as_its_path_or_its_bytes(tmp_path: Path) -> None:
    write_artifact(figure(1, 2), tmp_path / "figure")
    path = read_artifact(tmp_path / "figure", Path)
    assert path == read_artifact(tmp_path / "figure") == tmp_path / "figure" / "figure.png"
    assert read_artifact(tmp_path / "figure", bytes) == path.read_bytes()
    assert path.read_bytes().startswith(PNG)


def test_a_figure_is_no_figure_again(tmp_path: Path) -> None:
    write_artifact(figure(1, 2), tmp_path / "figure")
    with pytest.raises(
        UserError, match=r"format png, and not matplotlib.figure.Figure; change the annotation"
    ):
        read_artifact(tmp_path / "figure", Figure)


def test_equal_figures_are_equal_files_without_the_version_of_matplotlib(tmp_path: Path) -> None:
    for name, heights in (("a", (1, 2)), ("b", (1, 2)), ("c", (2, 1))):
        write_artifact(figure(*heights), tmp_path / name)
    first, second, other = ((tmp_path / name / "figure.png").read_bytes() for name in "abc")
    assert first == second != other
    assert b"Software" not in first
