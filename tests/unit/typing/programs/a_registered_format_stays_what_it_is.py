"""``@register_artifact`` gives back the class that it decorates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from typing_extensions import assert_type

from airflow_mlpipe import ArtifactFormat, register_artifact


class Curve:
    points: list[float]


@register_artifact
class CurveFormat(ArtifactFormat):
    name = "curve"
    file = "curve.txt"
    types = (Curve,)

    def write(self, value: Any, path: Path) -> None: ...

    def read(self, path: Path, wanted: str) -> Curve:
        return Curve()


assert_type(CurveFormat().read(Path("curve.txt"), "Curve"), Curve)
register_artifact(Curve)  # E: type-var, reportArgumentType
