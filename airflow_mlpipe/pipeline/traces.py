"""What an attempt has put in place for its step, to be taken away when the attempt is over."""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path

from airflow_mlpipe.errors import StoreError, UserError
from airflow_mlpipe.pipeline.mounting import unmount

log = logging.getLogger(__name__)

_COMPLAINTS_TOLD = 5


class Traces:
    """The links and mounts of an attempt whose inputs lie below *folder*.

    They are noted beside *folder*, so that they are also found after the worker was killed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._links = folder.with_name("links")
        self._mounts = folder.with_name("mounts")
        self._staged = folder.with_name("staged")

    def link(self, name: str, link: Path, target: Path) -> None:
        """Make *link*, which leads to *target*, for the input *name*; UserError when that cannot be."""
        try:
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(target)
        except OSError as error:
            raise UserError(
                f"input {name} cannot be put at {link}: {error.strerror}; if another run uses that path now, "
                "let the target choose it, or give the steps a pool of one slot"
            ) from error
        # Not before: the link that is there already may be another run's.
        _note(self._links / name, link)

    def mount_point(self, name: str) -> tuple[Path, Path]:
        """An empty folder at which to mount the input *name*, and a file for what goes wrong there later."""
        point = self._folder / name
        point.mkdir(parents=True)
        _note(self._mounts / name, point)
        return point, self._complaints(name)

    def all_staged(self) -> None:
        """Note that all inputs are in place now."""
        self._staged.touch()

    def is_spoilt(self, name: str) -> bool:
        """Whether somebody wrote into the input *name* after all were in place.

        It may share its files with other steps, which is why they are read-only; but not for everybody.
        """
        try:
            since = self._staged.stat().st_mtime_ns
        except FileNotFoundError:
            return False
        return any(
            (status := os.lstat(os.path.join(folder, name))).st_mtime_ns > since  # noqa: PTH118
            and stat.S_ISREG(status.st_mode)
            for folder, _, names in os.walk(self._folder / name)
            for name in names
        )

    def clear(self) -> None:
        """Remove the links outside of the folder, and unmount what is mounted in it. Twice is fine."""
        for note in self._links.glob("*"):
            link = note.readlink()
            if link.is_symlink():
                link.unlink()
            note.unlink()
        for note in self._mounts.glob("*"):
            if note.is_symlink():
                self._unmount(note)

    def _unmount(self, note: Path) -> None:
        complaints = self._complaints(note.name)
        for line in complaints.read_text(errors="replace").splitlines()[:_COMPLAINTS_TOLD]:
            log.warning("Input %s, while it was mounted: %s", note.name, line)
        try:
            unmount(note.readlink())
        except StoreError as error:
            log.warning("%s", error)
            return
        note.unlink()
        complaints.unlink()

    def _complaints(self, name: str) -> Path:
        path = self._mounts / f"{name}.log"
        path.touch()
        return path


def _note(note: Path, what: Path) -> None:
    note.parent.mkdir(exist_ok=True)
    note.symlink_to(what)
