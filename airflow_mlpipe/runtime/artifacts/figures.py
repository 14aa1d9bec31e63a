"""Figures of matplotlib as PNG, to look at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from airflow_mlpipe.runtime.artifacts.registry import ArtifactFormat


class Figures(ArtifactFormat):
    """A picture of the figure, which is no figure again: the reader gets its path, or its bytes."""

    name = "png"
    file = "figure.png"
    types = ("matplotlib.figure.Figure",)
    reads = (bytes,)

    def write(self, value: Any, path: Path) -> None:
        # Without the version of matplotlib, which would make equal pictures differ.
        value.savefig(path, format="png", metadata={"Software": None})

    def read(self, path: Path, wanted: str) -> Any:
        return path.read_bytes() if wanted == "bytes" else path


FORMATS = (Figures(),)
