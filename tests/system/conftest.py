"""One whole Airflow for all system tests of a session: starting it takes longer than most tests."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator

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


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that fails shows the errors that Airflow's components have logged."""
    report = yield
    instance = getattr(item, "funcargs", {}).get("airflow")
    if report.failed and isinstance(instance, AirflowInstance):
        report.sections.append(("errors of Airflow, at most the last 20", _errors(instance)))
    return report


def _errors(instance: AirflowInstance) -> str:
    found = sorted(  # each line begins with its time
        f"{line[:600]} ({log.stem})"
        for log in instance.logs_folder.glob("*.log")
        for line in log.read_text(errors="replace").splitlines()
        if re.search(r"\[(error|critical)\b", line)
    )
    return "\n".join(found[-20:]) or "none"
