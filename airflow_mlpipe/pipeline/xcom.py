"""Letting our references through Airflow's XCom."""

from __future__ import annotations

from airflow_mlpipe.model.reference import PipelineDataReference


def allow_references() -> None:
    """Allow this process to read references from XCom, which by default admits Airflow's own classes only."""
    from airflow.sdk.serde import allow_class

    allow_class(PipelineDataReference)
