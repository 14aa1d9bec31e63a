"""One whole Airflow for all system tests of a session: starting it takes longer than most tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.engines import docker_address
from tools.airflow_instance import AirflowInstance


@pytest.fixture(scope="session")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AirflowInstance]:
    """A running Airflow with an empty DAGs folder; write DAG files to ``airflow.dags_folder``.

    Tests share it, so each uses DAG ids of its own. Schedules are honoured. Besides ``admin`` there is
    the user ``viewer``, who may see everything and change nothing. The file of compute targets is empty.
    """
    folder = tmp_path_factory.mktemp("airflow")
    targets = folder / "compute_targets.yaml"
    targets.write_text("{}\n")
    settings = {
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin,viewer:viewer",
        "AIRFLOW__MLPIPE__COMPUTE_TARGETS": str(targets),
        **({"DOCKER_HOST": engine} if (engine := docker_address()) else {}),
    }
    with AirflowInstance(folder / "home", folder / "dags", settings=settings) as instance:
        yield instance
