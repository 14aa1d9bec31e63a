"""How an attempt comes into its container: by folders of this machine, or in a parcel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from airflow_mlpipe.errors import TargetError
from airflow_mlpipe.model.docker_target import DockerTarget, DockerVolume
from airflow_mlpipe.records import PRIVATE_VARIABLE, LaunchSpec, Private, to_json
from airflow_mlpipe.targets.contract import NOTHING_PRIVATE, AttemptDirectory, Container, Mount
from airflow_mlpipe.targets.docker.container import User
from airflow_mlpipe.targets.parcel import ROOT, Parcel, boot_command

_PRIVATE_FOLDER = "/mlpipe-private"
_PRIVATE_FILE = "private.json"
_PARCEL_FOLDER = "/mlpipe-parcel"
_FILE = "file://"


@dataclass(frozen=True)
class Delivery:
    """What a container runs, in which directory, and what it finds there.

    ``archive`` is a tar that is unpacked at its root before it starts, with what no mount and no variable may
    hold; b"" when there is nothing of the kind.
    """

    command: list[str]
    directory: str
    environment: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[Mount, ...] = ()
    archive: bytes = field(default=b"", repr=False)


def shared(
    target: DockerTarget,
    attempt: AttemptDirectory,
    container: Container,
    private: Private,
    runtime: Path,
    user: User,
) -> Delivery:
    """The delivery to an engine of this machine; *runtime* is the folder of the runtime bundle."""
    environment, archive = {}, b""
    if private != NOTHING_PRIVATE:
        environment = {PRIVATE_VARIABLE: f"{_PRIVATE_FOLDER}/{_PRIVATE_FILE}"}
        parcel = Parcel({_PRIVATE_FILE: to_json(private).encode()})
        archive = parcel.tar(_PRIVATE_FOLDER, owner=user.uid, group=user.gid)
    python = [target.python, "-X", "utf8", "-E", "-s", "-S"]
    return Delivery(
        [*python, "-m", "airflow_mlpipe.runtime", str(attempt.spec_path)],
        str(runtime),
        environment,
        (Mount(runtime), *container.mounts),
        archive,
    )


def carried(target: DockerTarget, spec: LaunchSpec, private: Private, runtime: Path, user: User) -> Delivery:
    """The delivery to an engine that shares nothing with this machine; *runtime* as for :func:`shared`.

    Raises TargetError when the container could not reach the datastore.
    """
    _refuse_hidden_datastore(target, spec)
    parcel = Parcel.of(spec, private, runtime)
    return Delivery(
        boot_command(target.python, _PARCEL_FOLDER, ROOT),
        "/",
        archive=parcel.tar(_PARCEL_FOLDER, owner=user.uid, group=user.gid, empty_folders=[ROOT]),
    )


def _refuse_hidden_datastore(target: DockerTarget, spec: LaunchSpec) -> None:
    url = spec.carriage or ""
    if not url.startswith(_FILE):
        return
    folder = url.removeprefix(_FILE)
    volumes = (DockerVolume.parse(volume) for volume in target.volumes)
    if any(folder.startswith(f"{volume.target}/") and not volume.read_only for volume in volumes):
        return
    raise TargetError(
        f"the datastore is a folder, and containers of compute target {target.name!r}, whose engine does not "
        f"share this machine's disk, would not find {folder}; use an object store as datastore, or show them "
        "its folder under the same path with volumes=['/source/on/the/engine:/path/of/the/datastore']"
    )
