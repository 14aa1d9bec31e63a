"""What tests on engines and clusters share."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_mlpipe.targets.runtime_bundle import runtime_bundle


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runtime bundle."""
    return runtime_bundle(tmp_path_factory.mktemp("cache"))
