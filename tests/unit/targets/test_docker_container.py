"""What an engine is asked to create, and what the end of a container without a result means."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from airflow_mlpipe.errors import InfrastructureError, StepError, UserError
from airflow_mlpipe.model.docker_target import DockerTarget
from airflow_mlpipe.records import LaunchSpec, RunInfo
from airflow_mlpipe.targets.contract import Mount
from airflow_mlpipe.targets.docker.container import User, container_config, container_name
from airflow_mlpipe.targets.docker.engine import EngineContainer
from airflow_mlpipe.targets.docker.loss import ended_early

RUN = RunInfo("run-1", "e", "d", "scheduled__2026-01-01T00:00:00+00:00", "t", map_index=3, try_number=2)
SPEC = LaunchSpec("train-0f", "f" * 64, ["a", "b"], "/r", "/w", RUN, environment={"PLAIN": "value"})


SOMEBODY = User(1000, 1000)


def config(target: DockerTarget, user: User = SOMEBODY, **fields: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "image": "sha256:0",
        "command": ["python3", "-m", "it", "a b"],
        "directory": "/runtime",
        "environment": {},
        "mounts": (),
        **fields,
    }
    return container_config(target, SPEC, user=user, **given)


def test_the_container_of_a_plain_target_is_told_no_more_than_it_needs() -> None:
    mounts = (Mount(Path("/runtime")), Mount(Path("/work/my, strange:folder"), writable=True))
    assert config(DockerTarget(), mounts=mounts, environment={"MLPIPE_PRIVATE": "/p"}) == {
        "Image": "sha256:0",
        "Entrypoint": ["python3"],
        "Cmd": ["-m", "it", "a b"],
        "WorkingDir": "/runtime",
        "Env": ["HOME=/tmp", "USER=mlpipe", "MLPIPE_PRIVATE=/p"],
        "User": "1000:1000",
        "Labels": {
            "mlpipe.attempt": "train-0f",
            "mlpipe.fingerprint": "f" * 64,
            "mlpipe.dag_id": "d",
            "mlpipe.run_id": "scheduled__2026-01-01T00:00:00+00:00",
            "mlpipe.task_id": "t",
            "mlpipe.map_index": "3",
            "mlpipe.try_number": "2",
        },
        "StopSignal": "SIGTERM",
        "StopTimeout": 12,
        "Healthcheck": {"Test": ["NONE"]},
        "HostConfig": {
            "Mounts": [
                {"Type": "bind", "Source": "/runtime", "Target": "/runtime", "ReadOnly": True},
                {
                    "Type": "bind",
                    "Source": "/work/my, strange:folder",
                    "Target": "/work/my, strange:folder",
                    "ReadOnly": False,
                },
            ],
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges"],
            "GroupAdd": [],
            "LogConfig": {"Type": "json-file", "Config": {}},
            "DeviceRequests": [],
        },
    }


def test_the_fields_of_a_target_are_limits_and_devices_and_its_patch_has_the_last_word() -> None:
    target = DockerTarget(
        cpus=1.5,
        memory="1g",
        shm_size="64m",
        network="training",
        volumes=["/srv/data:/data:ro", "scratch:/scratch"],
        host_config={"CapDrop": [], "IpcMode": "host"},
    )
    host = config(target)["HostConfig"]
    assert (host["NanoCpus"], host["Memory"], host["MemorySwap"]) == (1_500_000_000, 2**30, 2**30)
    assert (host["ShmSize"], host["NetworkMode"]) == (2**26, "training")
    assert host["Mounts"] == [
        {"Type": "bind", "Source": "/srv/data", "Target": "/data", "ReadOnly": True},
        {"Type": "volume", "Source": "scratch", "Target": "/scratch", "ReadOnly": False},
    ]
    assert (host["CapDrop"], host["IpcMode"]) == ([], "host")


@pytest.mark.parametrize(
    ("gpus", "requested"),
    [
        (0, []),
        (2, [{"Capabilities": [["gpu"]], "Count": 2}]),
        ("all", [{"Capabilities": [["gpu"]], "Count": -1}]),
        (["0", "3"], [{"Capabilities": [["gpu"]], "DeviceIDs": ["0", "3"]}]),
    ],
)
def test_gpus_are_requested_by_number_or_by_id(gpus: Any, requested: list[Any]) -> None:
    assert config(DockerTarget(gpus=gpus))["HostConfig"]["DeviceRequests"] == requested


def test_a_step_runs_as_the_worker_unless_its_target_names_a_user() -> None:
    assert User.of(DockerTarget(user="1000:2000")) == User(1000, 2000)
    worker = User.of(DockerTarget())
    assert (worker.uid, worker.gid) == (os.geteuid(), os.getegid())
    assert {worker.gid, *worker.groups} == {os.getegid(), *os.getgroups()}
    made = config(DockerTarget(), User(7, 8, (9, 10)))
    assert (made["User"], made["HostConfig"]["GroupAdd"]) == ("7:8", ["9", "10"])


def test_root_keeps_the_home_that_the_image_gives_it() -> None:
    assert config(DockerTarget(), User(0, 0))["Env"] == []


def test_arguments_and_variables_of_the_step_are_not_in_it() -> None:
    assert "PLAIN" not in json.dumps(config(DockerTarget()))


def test_a_container_is_named_by_its_attempt() -> None:
    assert container_name("train-0f.1") == "mlpipe-train-0f.1"
    assert container_name("../a b;$(x)/漢") == "mlpipe-..-a-b---x---"


@pytest.mark.parametrize(
    ("exit_code", "out_of_memory", "kind", "sentence"),
    [
        (137, True, UserError, "its limit of 4g was reached"),
        (137, False, InfrastructureError, "was killed from outside"),
        (143, False, InfrastructureError, "ended with code 143 and left no result"),
    ],
)
def test_the_end_of_a_container_without_a_result_is_classed(
    exit_code: int, out_of_memory: bool, kind: type[StepError], sentence: str
) -> None:
    container = EngineContainer("id", "exited", exit_code, out_of_memory, stop_seconds=12)
    failure = ended_early(DockerTarget(memory="4g"), "mlpipe-train-0f", container, ["one", "two"])
    assert type(failure) is kind
    assert sentence in str(failure)
    assert str(failure).endswith("; its last words:\none\ntwo")
