"""Services of which nothing is known but their driver: looking comes first, and then the change."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from airflow_mlpipe.store.driver_listing import files_below
from airflow_mlpipe.store.objects.contract import Versioned


class AnyDriver:
    """The files of any driver. Between two callers within the same moment both may see a condition hold."""

    def __init__(self, filesystem: Any) -> None:
        self._fs = filesystem

    def read(self, path: str) -> Versioned | None:
        # Drivers take what they listed before for what is there now.
        self._fs.invalidate_cache()
        try:
            data = bytes(self._fs.cat_file(path))
        except (FileNotFoundError, IsADirectoryError):
            return None
        return Versioned(data, hashlib.sha256(data).hexdigest())

    def create(self, path: str, data: bytes) -> bool:
        if self.read(path) is not None:
            return False
        try:
            # Some drivers make it exclusive.
            self._fs.pipe_file(path, data, mode="create")
        except Exception:
            # Whatever the driver raises when somebody was quicker.
            if self.read(path) is None:
                raise
            return False
        return True

    def replace(self, path: str, version: str, data: bytes) -> bool:
        if not self._is(path, version):
            return False
        self._fs.pipe_file(path, data)
        return True

    def delete(self, path: str, version: str) -> bool:
        if not self._is(path, version):
            return False
        try:
            self._fs.rm_file(path)
        except FileNotFoundError:
            return False
        return True

    def weakness(self) -> str:
        return "its driver has no conditional writes"

    def listed(self, path: str) -> dict[str, int]:
        return {name: entry["size"] for name, entry in self._found(path).items() if entry["type"] == "file"}

    def delete_all(self, path: str) -> None:
        found = self._found(path)
        for name in sorted(found, reverse=True):
            with suppress(FileNotFoundError):
                if found[name]["type"] == "directory":
                    self._fs.rmdir(name)
                else:
                    self._fs.rm_file(name)

    def _found(self, path: str) -> dict[str, Mapping[str, Any]]:
        found = dict(files_below(self._fs, path, folders=True))
        if path not in found and self._fs.isdir(path):
            found[path] = self._fs.info(path)
        return found

    def _is(self, path: str, version: str) -> bool:
        present = self.read(path)
        return present is not None and present.version == version
