"""One whole Airflow for all system tests of a session: starting it takes longer than most tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tools.airflow_instance import AirflowInstance


@pytest.fixture(scope="session")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AirflowInstance]:
    """A running Airflow with an empty DAGs folder; write DAG files to ``airflow.dags_folder``.

    Tests share it, so each uses DAG ids of its own. Schedules are honoured. Besides ``admin`` there is
    the user ``viewer``, who may see everything and change nothing.
    """
    folder = tmp_path_factory.mktemp("airflow")
    users = {"AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin,viewer:viewer"}
    with AirflowInstance(folder / "home", folder / "dags", settings=users) as instance:
        yield instance
