"""The files of a table: where each lies, and how its bytes are read."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from airflow_mlpipe.access import filesystem
from airflow_mlpipe.errors import UserError
from airflow_mlpipe.runtime.tables.engine import arrow

_COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd", ".lz4": "lz4"}


@dataclass(frozen=True)
class TableFile:
    """A file at a path or URL; ``inside`` is its path in the folder that the step is shown: ``/2026/a.csv``.

    A name that ends in ``.gz``, ``.bz2``, ``.zst`` or ``.lz4`` says that the file is compressed.
    """

    path: str
    inside: str

    def __str__(self) -> str:
        return self.inside.lstrip("/")

    def opened(self) -> tuple[Any, str]:
        """The fsspec filesystem of a URL, None on this machine, and the path there. Raises StoreError."""
        return filesystem(self.path) if "://" in self.path else (None, self.path)

    def lines(self, encoding: str) -> Any:
        """Its text as a stream of UTF-8, perhaps with a byte order mark at the start.

        *encoding* is Python's name of the encoding. Raises UserError when it cannot be opened.
        """
        pyarrow = arrow()
        opened, path = self.opened()
        try:
            stream = (
                pyarrow.OSFile(path) if opened is None else pyarrow.PythonFile(opened.open(path, "rb"), "r")
            )
            if (compression := _COMPRESSIONS.get(PurePath(path).suffix)) is not None:
                stream = pyarrow.CompressedInputStream(stream, compression)
        except (OSError, pyarrow.ArrowException) as error:
            raise UserError(f"{self} cannot be opened: {error}") from error
        # From UTF-8 to UTF-8 nothing is done, and Arrow finds bytes that are none faster than Python.
        return pyarrow.transcoding_input_stream(stream, encoding, "utf-8")


def table_files(paths: Sequence[str], root: str | None) -> list[TableFile]:
    """The files at *paths* in the folder *root*; when it is not known, that which all of them share."""
    top = root if root is not None else _common_folder(paths)
    return [TableFile(path, "/" + Path(os.path.relpath(path, top)).as_posix()) for path in paths]


def _common_folder(paths: Sequence[str]) -> str:
    return os.path.commonpath([PurePath(path).parent for path in paths]) if paths else ""
