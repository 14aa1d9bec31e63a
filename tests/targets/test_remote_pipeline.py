"""A pipeline whose steps run on a machine that is reached by SSH."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.airflow.conftest import dags, task_log  # noqa: F401 - fixtures
from tests.airflow.harness import DagFiles
from tests.sshd import SSHD, running_sshd

pytestmark = [pytest.mark.airflow, pytest.mark.skipif(SSHD is None, reason="sshd is not installed")]

PREPARE = """
import os, pathlib, sys
raw, made = map(pathlib.Path, sys.argv[1:])
print("prepared in", os.getcwd(), "with", len(os.environ["API_TOKEN"]))
(made / "rows.txt").write_text((raw / "a.csv").read_text())
"""

DAG = """
    from airflow_mlpipe import RemoteTarget
    made = OutputFileDatasetConfig("made")
    raw = Dataset.File.from_files("data")
    target = {target}
    step("prepare", raw.as_named_input("raw").as_mount(), made, compute_target=target,
         environment=Environment(environment_variables={{"API_TOKEN": "s3cret-word"}}))
    CommandStep(task_id="count", command=["sh", "-c", 'wc -l < "$0/rows.txt"'], arguments=[made.as_input()],
                compute_target=target, allow_reuse=False)
"""


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of attempts on the machine of the connection ``box``, which runs until the test ends."""
    (tmp_path / "sshd").mkdir()
    with running_sshd(tmp_path / "sshd") as server:
        extra = {"key_file": str(server.user_key), "host_key": server.host_key, "look_for_keys": "false"}
        login = {"conn_type": "ssh", "host": "127.0.0.1", "login": server.user, "port": server.port}
        monkeypatch.setenv("AIRFLOW_CONN_BOX", json.dumps({**login, "extra": extra}))
        yield tmp_path / "machine"


def test_steps_run_there_their_outputs_are_reused_and_nothing_is_left(
    dags: DagFiles,  # noqa: F811 - the fixture
    machine: Path,
) -> None:
    dags.script("prepare.py", PREPARE)
    dags.file("data/a.csv", "one\ntwo\n")
    dags.dag(DAG.format(target=f'RemoteTarget(ssh_conn_id="box", folder="{machine}")'))
    first = dags.run()
    assert first.state == "success", first.text
    assert f"prepared in {machine}/prepare-" in first.text
    assert "with 11" in first.text
    assert [line for line in first.log if line.strip() == "2"]
    assert list(machine.iterdir()) == []
    shutil.rmtree(machine)
    second = dags.run()
    assert (second.state, second.actions["prepare"]) == ("success", "reused"), second.text
    assert not list(machine.glob("prepare-*"))
    reference = first.reference("prepare", "made")
    assert second.reference("prepare", "made") == reference
    texts = [path.read_bytes() for path in dags.store.rglob("*") if path.is_file()]
    assert texts
    assert not [text for text in texts if b"s3cret-word" in text]
