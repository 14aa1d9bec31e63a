"""The reference of the Kubernetes target has every field with its default."""

from __future__ import annotations

import ast
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic_core import PydanticUndefined

from airflow_mlpipe import KubernetesTarget, NodePool, Volume
from airflow_mlpipe.targets.kubernetes.node_pools import node_selector, tolerations

DOCS = Path(__file__).resolve().parents[3] / "docs"


def table(page: str, heading: str) -> dict[str, list[str]]:
    """The rows of the first table below a heading: the other cells by the first one."""
    section = (DOCS / page).read_text("utf8").split(f"\n## {heading}\n")[1].partition("\n## ")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in re.findall(r"^\|.*$", section, re.M)
    ]
    return {row[0].strip("`"): row[1:] for row in rows[2:]}


def default_of(cell: str) -> Any:
    if cell == "required":
        return PydanticUndefined
    if cell.endswith(" minutes"):
        return timedelta(minutes=int(cell.split()[0]))
    return ast.literal_eval(cell.strip("`"))


@pytest.mark.parametrize("kind", [KubernetesTarget, Volume])
def test_every_field_is_listed_with_its_default(kind: type[KubernetesTarget] | type[Volume]) -> None:
    listed = table("reference/kubernetes-target.md", kind.__name__)
    fields = dict(kind.model_fields)
    fields.pop("type", None)
    assert set(listed) == set(fields)
    for name, (default, _) in listed.items():
        if name == "name":
            assert KubernetesTarget().name == default_of(default)
        else:
            assert fields[name].get_default(call_default_factory=True) == default_of(default), name


def test_the_labels_and_taints_of_every_provider_are_those_of_its_pods() -> None:
    listed = table("how-to/kubernetes-node-pools.md", "Choose the nodes")
    for provider in ("gke", "aks", "eks", "karpenter"):
        label, spot_label, gpu_taints, spot_taints = listed[provider]
        target = KubernetesTarget(node_pool=NodePool(provider=provider, name="a100"), gpus=1, spot=True)
        selected = {f"{key}={value}" for key, value in node_selector(target).items()}
        assert selected == {f"{label.strip('`')}=a100", spot_label.strip("`")}
        told = re.findall(r"`([^`]+)`", gpu_taints + spot_taints)
        tolerated = [
            f"{item['key']}={item['value']}" if "value" in item else item["key"]
            for item in tolerations(target)
        ]
        assert told == tolerated
