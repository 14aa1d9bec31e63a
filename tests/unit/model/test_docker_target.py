"""A Docker engine as authors describe it, in Python and in YAML."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_mlpipe import DockerTarget
from airflow_mlpipe.errors import DefinitionError
from airflow_mlpipe.model.compute_targets import parse_targets
from airflow_mlpipe.model.docker_target import DockerVolume, size_in_bytes

TRAINER = """\
trainer:
  type: docker
  image: registry.example.com/train:7
  docker_url: tcp://trainer.example.com:2376
  tls_directory: /etc/docker-keys
  docker_conn_id: registry
  cpus: 8
  memory: 64g
  shm_size: 8g
  gpus: ["0", "GPU-3a23c669"]
  network: training
  user: "1000:1000"
  volumes: ["/srv/data:/data:ro", "scratch:/scratch"]
  host_config: {CapAdd: [SYS_PTRACE], Ulimits: [{Name: memlock, Soft: -1, Hard: -1}]}
  pool: trainer
  cost_per_hour: 2.5
"""


def test_a_target_in_yaml_is_the_one_in_python() -> None:
    assert parse_targets(TRAINER, "targets.yaml")["trainer"] == DockerTarget(
        "trainer",
        image="registry.example.com/train:7",
        docker_url="tcp://trainer.example.com:2376",
        tls_directory="/etc/docker-keys",
        docker_conn_id="registry",
        cpus=8,
        memory="64g",
        shm_size="8g",
        gpus=("0", "GPU-3a23c669"),
        network="training",
        user="1000:1000",
        volumes=("/srv/data:/data:ro", "scratch:/scratch"),
        host_config={"CapAdd": ["SYS_PTRACE"], "Ulimits": [{"Name": "memlock", "Soft": -1, "Hard": -1}]},
        pool="trainer",
        cost_per_hour=2.5,
    )


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"docker_url": "trainer:2375"}, "'trainer:2375' is no address of an engine"),
        ({"docker_conn_id": " "}, "DockerTarget.docker_conn_id: ' ' is no name"),
        ({"pool": ""}, "DockerTarget.pool: '' is no name: write at least one character"),
        ({"queue": "far "}, "DockerTarget.queue: 'far ' is no name"),
        ({"cost_per_hour": True}, "DockerTarget.cost_per_hour: "),
        ({"cost_per_hour": "3"}, "DockerTarget.cost_per_hour: "),
        ({"python": "python3 -u"}, "'python3 -u' is no interpreter"),
        (
            {"tls_directory": "/keys", "docker_url": "unix:///run/docker.sock"},
            "DockerTarget.tls_directory: the engine at 'unix:///run/docker.sock' asks for no keys",
        ),
        ({"tls_directory": "keys"}, "'keys' is no absolute path"),
        ({"cpus": 0}, "cpus"),
        ({"cpus": float("nan")}, "cpus"),
        ({"memory": "lots"}, "'lots' is no amount of memory"),
        ({"memory": "0g"}, "'0g' is no amount of memory"),
        ({"memory": "5m"}, "'5m' is less than an engine accepts"),
        ({"memory": 4}, "4 is no amount of memory; write a text with its unit: '4g'"),
        ({"cpus": True}, "(given: True)"),
        ({"shm_size": "-1g"}, "'-1g' is no amount of memory"),
        ({"gpus": -1}, "write a number, 'all', or the ids"),
        ({"gpus": "one"}, "write a number, 'all', or the ids"),
        ({"gpus": True}, "write a number, 'all', or the ids"),
        ({"gpus": ["0", ""]}, "write a number, 'all', or the ids"),
        ({"gpus": []}, "write a number, 'all', or the ids"),
        ({"gpus": ["0,1"]}, "write a number, 'all', or the ids"),
        ({"gpus": ["0", "all"]}, "write a number, 'all', or the ids"),
        ({"gpus": ["0", "0"]}, "a GPU is named twice in ['0', '0']"),
        ({"network": "two words"}, "'two words' is no name of a network"),
        ({"user": "root"}, "'root' is not UID:GID"),
        ({"user": "1000"}, "'1000' is not UID:GID"),
        ({"volumes": ["data"]}, "'data' is no volume"),
        ({"volumes": ["/data:data"]}, "'/data:data' is no volume"),
        ({"volumes": ["/data:/data:rw:z"]}, "'/data:/data:rw:z' is no volume"),
        ({"volumes": ["/data:/data "]}, "'/data:/data ' is no volume"),
        ({"volumes": ["/data:/mlpipe/code"]}, "'/data:/mlpipe/code' would hide what a step is started with"),
        ({"volumes": ["/:/"]}, "would hide the whole image"),
        ({"volumes": ["/a:/x", "/b:/x/"]}, "two volumes have the target '/x'"),
        ({"host_config": {"cap_add": ["ALL"]}}, "'cap_add' is no option of HostConfig"),
        ({"host_config": {"Memory": 1}}, "Memory cannot be patched; set memory"),
        ({"host_config": {"MEMORY": 1}}, "MEMORY cannot be patched; set memory"),
        ({"host_config": {"Binds": ["/:/host"]}}, "Binds cannot be patched; set volumes"),
        ({"host_config": {"AutoRemove": True}}, "AutoRemove cannot be patched"),
        ({"host_config": {"Sysctls": {1, 2}}}, "must be plain JSON"),
        ({"privileged": True}, "privileged"),
    ],
)
def test_a_wrong_field_is_refused_with_a_sentence(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(DefinitionError) as refused:
        DockerTarget(**fields)
    assert sentence in str(refused.value)


@pytest.mark.parametrize("url", ["https://me:s3cret@trainer:2376", "tcp://me:s3cret@trainer:2376/path"])
def test_a_password_in_an_address_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(DefinitionError, match="the address has a password in it") as refused:
        DockerTarget(docker_url=url)
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4g", 4 * 2**30),
        ("4 GiB", 4 * 2**30),
        ("1.5G", 3 * 2**29),
        ("512m", 2**29),
        ("64kb", 2**16),
        ("9", 9),
    ],
)
def test_amounts_of_memory_are_dockers_powers_of_1024(text: str, size: int) -> None:
    assert size_in_bytes(text) == size


@given(st.text() | st.from_regex(r"\d+\.?\d* ?[kmgtx]?i?b?", fullmatch=True))
def test_every_text_is_an_amount_or_refused_with_a_sentence(text: str) -> None:
    try:
        target = DockerTarget(shm_size=text)
    except DefinitionError as error:
        assert "is no amount of memory" in str(error)  # noqa: PT017 - most texts are none, not all
    else:
        assert size_in_bytes(target.shm_size or "") > 0


@pytest.mark.parametrize(
    ("text", "volume"),
    [
        ("/srv/data:/data", DockerVolume("/srv/data", "/data", read_only=False)),
        ("/srv/my data:/data/:ro", DockerVolume("/srv/my data", "/data", read_only=True)),
        ("scratch:/scratch:rw", DockerVolume("scratch", "/scratch", read_only=False)),
    ],
)
def test_a_volume_has_a_source_and_a_target(text: str, volume: DockerVolume) -> None:
    assert DockerVolume.parse(text) == volume
    assert volume.is_folder == text.startswith("/")
