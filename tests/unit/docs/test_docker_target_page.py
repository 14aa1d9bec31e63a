"""The reference of the Docker target has every field with its default."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from airflow_mlpipe import DockerTarget

PAGE = Path(__file__).resolve().parents[3] / "docs" / "reference" / "docker-target.md"


def test_every_field_is_listed_with_its_default() -> None:
    rows = re.findall(r"^\| (`.*?`) \| `(.*?)` \| .+ \|$", PAGE.read_text("utf8"), re.M)
    listed = {
        name: ast.literal_eval(default) for names, default in rows for name in re.findall(r"\w+", names)
    }
    fields = {
        name: field.get_default(call_default_factory=True)
        for name, field in DockerTarget.model_fields.items()
        if name != "type"
    }
    assert listed == {**fields, "name": DockerTarget().name}
