"""What the example DAGs need of Airflow's configuration to run on this machine alone."""

from __future__ import annotations

from pathlib import Path


def example_settings(dags_folder: Path) -> dict[str, str]:
    """Environment variables for an Airflow with the examples in *dags_folder*; none for DAGs of one's own."""
    targets = dags_folder / "gpu_pool" / "wholly_local.yaml"
    return {"AIRFLOW__MLPIPE__COMPUTE_TARGETS": str(targets.resolve())} if targets.exists() else {}
