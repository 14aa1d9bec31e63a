"""A configuration of Kubernetes that cannot be read is told as the target's failure."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_mlpipe import KubernetesTarget
from airflow_mlpipe.errors import TargetError
from airflow_mlpipe.pipeline.compute.kubernetes import cluster_of


@pytest.mark.parametrize(
    "text", ["", "clusters: [{name: a, b", "just words", "- a\n- b\n", "\x00", "users: 3"]
)
def test_a_broken_configuration_is_the_targets_failure(text: str, tmp_path: Path) -> None:
    config = tmp_path / "kubeconfig"
    config.write_text(text)
    with pytest.raises(
        TargetError, match=r"^the cluster of compute target 'gpus' cannot be reached: .+; cor"
    ):
        cluster_of(KubernetesTarget("gpus", config_file=str(config)))
