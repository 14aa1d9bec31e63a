"""A Docker engine, on the worker's own machine or another."""

from __future__ import annotations

import json
import posixpath
import re
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BeforeValidator, Field, field_validator
from pydantic_core import PydanticCustomError

from airflow_mlpipe.errors import DefinitionError
from airflow_mlpipe.model.compute import ContainerTarget, Name, Quantity
from airflow_mlpipe.model.declaration import CONFIDENTIAL

_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,15})?) ?(?:([kmgt])i?)?b?", re.IGNORECASE)
_SMALLEST_MEMORY = 6 * 1024**2  # what an engine accepts
_URL = re.compile(r"(unix|npipe)://.+|(tcp|http|https|ssh)://[^/\s]+/?")
_USER = re.compile(r"(\d{1,9}):(\d{1,9})")
_WITH_KEYS = re.compile(r"(tcp|https)://.+")
_PASSWORD = re.compile(r"://[^/@]*:[^/@]*@")
_GPU = re.compile(r"[A-Za-z0-9][A-Za-z0-9/:._-]*")
_OPTION = re.compile(r"[A-Z][A-Za-z0-9]*")

# What the container has of its own accord; see targets/docker/delivery.py.
_OURS = ("/mlpipe", "/mlpipe-parcel", "/mlpipe-private")

# What a field says already, or what an attempt rests on.
_NOT_PATCHED = {
    "memory": "set memory",
    "memoryswap": "set memory, which allows no swap beyond it",
    "nanocpus": "set cpus",
    "shmsize": "set shm_size",
    "networkmode": "set network",
    "devicerequests": "set gpus",
    "binds": "set volumes",
    "mounts": "set volumes",
    "autoremove": "leave it out: the container stays until its result was read, and goes then",
    "restartpolicy": "leave it out: an attempt is started once",
}


class DockerVolume(NamedTuple):
    """A folder of the engine's machine, or a volume that it keeps by name, and where a step finds it."""

    source: str
    target: str
    read_only: bool

    @property
    def is_folder(self) -> bool:
        return self.source.startswith("/")

    @classmethod
    def parse(cls, text: str) -> DockerVolume:
        """What ``SOURCE:TARGET`` or ``SOURCE:TARGET:ro`` says. Raises ValueError."""
        source, _, rest = text.partition(":")
        target, _, mode = rest.partition(":")
        is_name = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]+", source)
        if (
            not (source.startswith("/") or is_name)
            or text != text.strip()
            or not target.startswith("/")
            or mode not in ("", "ro", "rw")
        ):
            raise ValueError(
                f"{text!r} is no volume; write SOURCE:TARGET or SOURCE:TARGET:ro, where SOURCE is an "
                "absolute path on the engine's machine or the name of a volume, and TARGET an absolute path"
            )
        if posixpath.normpath(target) == "/":
            raise ValueError(f"{text!r} would hide the whole image; name a folder below /")
        if any(f"{posixpath.normpath(target)}/".startswith(f"{folder}/") for folder in _OURS):
            raise ValueError(f"{text!r} would hide what a step is started with; mount it elsewhere")
        return cls(source, posixpath.normpath(target), mode == "ro")


def size_in_bytes(text: str) -> int:
    """The bytes of an amount of memory such as ``512m``, ``4g`` or ``1.5GiB``.

    Units are powers of 1024, as Docker has them. Raises ValueError.
    """
    match = _SIZE.fullmatch(text.strip())
    power = "kmgt".index(match[2].lower()) + 1 if match and match[2] else 0
    size = int(float(match[1]) * 1024**power) if match else 0
    if size == 0:
        raise ValueError(f"{text!r} is no amount of memory; write a number above 0 and b, k, m, g or t: '4g'")
    return size


def _size(given: object) -> str:
    if not isinstance(given, str):
        raise ValueError(f"{given!r} is no amount of memory; write a text with its unit: '4g'")
    size_in_bytes(given)
    return given


Size = Annotated[str, BeforeValidator(_size)]


class DockerTarget(ContainerTarget):
    """A Docker engine, on the worker's own machine or another.

    ``docker_url`` is its address; default is that of ``DOCKER_HOST``, else the engine of the worker's
    machine. ``tls_directory`` holds ``ca.pem``, ``cert.pem`` and ``key.pem`` for an engine that asks for
    them. ``docker_conn_id`` is the Airflow connection of type Docker with the login of an image registry.

    With ``shares_disk`` containers are shown the worker's own folders, under the same paths; otherwise code
    and data come by way of the datastore. Default: whether the engine is reached by a socket of this machine.

    ``cpus`` and ``memory`` ("4g", without swap) are limits; ``shm_size`` is the size of the folder for shared
    memory. ``gpus`` is how many the container gets, ``"all"``, or the ids of those that it gets. ``network``
    is the engine's name of one, ``user`` is ``"UID:GID"``, by default the worker's. ``volumes`` are
    ``"SOURCE:TARGET[:ro]"``. ``host_config`` is merged into the HostConfig of the engine's API, for the rest.
    """

    type: Literal["docker"] = "docker"
    docker_url: str | None = None
    tls_directory: str | None = None
    docker_conn_id: Name | None = None
    shares_disk: bool | None = None
    cpus: Annotated[Quantity, Field(ge=0.01)] | None = None
    memory: Size | None = None
    shm_size: Size | None = None
    gpus: int | Literal["all"] | tuple[str, ...] = 0
    network: str | None = None
    user: str | None = None
    volumes: tuple[str, ...] = ()
    host_config: dict[str, Any] = Field(default_factory=dict)

    def __init__(self, name: str = "docker", **values: Any) -> None:
        super().__init__(name=name, **values)
        if self.tls_directory is not None and self.docker_url and not _WITH_KEYS.fullmatch(self.docker_url):
            raise DefinitionError(
                f"DockerTarget.tls_directory: the engine at {self.docker_url!r} asks for no keys; leave it "
                "out, or write docker_url as tcp://host:port"
            )

    @field_validator("docker_url")
    @classmethod
    def _url_is_an_engines(cls, url: str | None) -> str | None:
        if url is not None and _PASSWORD.search(url):
            raise PydanticCustomError(
                CONFIDENTIAL,
                "the address has a password in it, and everybody can read it; let the engine ask for keys, "
                "and name their folder as tls_directory",
            )
        if url is not None and not _URL.fullmatch(url):
            raise ValueError(
                f"{url!r} is no address of an engine; write unix:///path/of/socket, tcp://host:port or "
                "ssh://user@host"
            )
        return url

    @field_validator("tls_directory")
    @classmethod
    def _directory_is_absolute(cls, path: str | None) -> str | None:
        if path is not None and not path.startswith("/"):
            raise ValueError(f"{path!r} is no absolute path of a folder")
        return path

    @field_validator("memory")
    @classmethod
    def _memory_is_enough(cls, memory: str | None) -> str | None:
        if memory is not None and size_in_bytes(memory) < _SMALLEST_MEMORY:
            raise ValueError(f"{memory!r} is less than an engine accepts; write at least '6m'")
        return memory

    @field_validator("gpus", mode="before")
    @classmethod
    def _gpus_are_counted_or_named(cls, gpus: Any) -> Any:
        if gpus == "all" or (type(gpus) is int and gpus >= 0):
            return gpus
        if isinstance(gpus, (list, tuple)) and gpus and all(map(_is_gpu, gpus)):
            if len(set(gpus)) < len(gpus):
                raise ValueError(f"a GPU is named twice in {list(gpus)!r}; name each once")
            return tuple(gpus)
        raise ValueError("write a number, 'all', or the ids of GPUs as nvidia-smi -L lists them: ['0', '1']")

    @field_validator("network")
    @classmethod
    def _network_is_a_name(cls, network: str | None) -> str | None:
        if network is not None and not re.fullmatch(r"\S+", network):
            raise ValueError(f"{network!r} is no name of a network, as 'docker network ls' lists them")
        return network

    @field_validator("user")
    @classmethod
    def _user_is_numeric(cls, user: str | None) -> str | None:
        if user is not None and not _USER.fullmatch(user):
            raise ValueError(f"{user!r} is not UID:GID; write two numbers such as '1000:1000'")
        return user

    @field_validator("volumes")
    @classmethod
    def _volumes_are_volumes(cls, volumes: tuple[str, ...]) -> tuple[str, ...]:
        targets = [DockerVolume.parse(volume).target for volume in volumes]
        if double := sorted({target for target in targets if targets.count(target) > 1}):
            raise ValueError(f"two volumes have the target {double[0]!r}; a folder has one")
        return volumes

    @field_validator("host_config")
    @classmethod
    def _patch_is_a_patch(cls, patch: dict[str, Any]) -> dict[str, Any]:
        for option in patch:
            if not _OPTION.fullmatch(option):
                raise ValueError(f"{option!r} is no option of HostConfig, such as 'CapAdd' or 'Ulimits'")
            # An engine heeds no case in these names.
            if (instead := _NOT_PATCHED.get(option.lower())) is not None:
                raise ValueError(f"{option} cannot be patched; {instead}")
        try:
            json.dumps(patch, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(f"it must be plain JSON: {error}") from None
        return patch


def _is_gpu(item: object) -> bool:
    return isinstance(item, str) and _GPU.fullmatch(item) is not None and item != "all"
