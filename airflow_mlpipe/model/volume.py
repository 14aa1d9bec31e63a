"""A volume that the container of a step has."""

from __future__ import annotations

import re
from typing import Any

from pydantic import field_validator

from airflow_mlpipe.errors import DefinitionError
from airflow_mlpipe.model.declaration import Declaration
from airflow_mlpipe.model.kubernetes_texts import AbsolutePath, Amount, ObjectName, is_inside

# What the container has of its own accord; see targets/kubernetes/pod.py.
_OURS = ("/mlpipe", "/mlpipe-parcel", "/mlpipe-drivers")
_EXPORT = re.compile(r"[A-Za-z0-9_.-]+:/[^:]*")
_KINDS = ("host_path", "claim", "nfs", "scratch")


class Volume(Declaration):
    """What the container finds at *mount_path*; exactly one of four kinds.

    ``host_path`` is a folder of the node, ``claim`` the name of a PersistentVolumeClaim, ``nfs`` an export
    written as ``server:/path``, ``scratch`` the size of an empty folder that goes with the pod. ``sub_path``
    is a folder inside the volume to take in its place.
    """

    mount_path: AbsolutePath
    host_path: AbsolutePath | None = None
    claim: ObjectName | None = None
    nfs: str | None = None
    scratch: Amount | None = None
    sub_path: str | None = None
    read_only: bool = False

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)
        if len([kind for kind in _KINDS if getattr(self, kind) is not None]) != 1:
            raise DefinitionError(f"Volume at {self.mount_path}: give exactly one of {', '.join(_KINDS)}")
        if self.scratch is not None and (self.read_only or self.sub_path is not None):
            field = "read_only" if self.read_only else "sub_path"
            raise DefinitionError(
                f"Volume at {self.mount_path}: scratch is an empty folder to write to; leave {field} out"
            )

    @field_validator("mount_path")
    @classmethod
    def _path_is_free(cls, path: str) -> str:
        if any(f"{path}/".startswith(f"{folder}/") for folder in _OURS) or path == "/":
            raise ValueError(f"{path!r} belongs to the container; mount the volume elsewhere")
        return path.rstrip("/")

    @field_validator("nfs")
    @classmethod
    def _export_has_a_server(cls, nfs: str | None) -> str | None:
        if nfs is not None and not _EXPORT.fullmatch(nfs):
            raise ValueError(f"{nfs!r} is no export: write SERVER:/PATH, such as 'filer.example.com:/data'")
        return nfs

    @field_validator("sub_path")
    @classmethod
    def _sub_path_stays_inside(cls, path: str | None) -> str | None:
        if path is not None and not is_inside(path):
            raise ValueError(f"{path!r} is no path inside the volume: write one such as 'models/v1'")
        return path
