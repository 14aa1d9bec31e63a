"""Arrays of numpy as ``.npy``, never with pickled objects in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from airflow_mlpipe.errors import DocumentError, UserError
from airflow_mlpipe.runtime.artifacts.registry import ArtifactFormat, dotted_name

_PLAIN = ("numpy.ndarray", "numpy.memmap")


class Arrays(ArtifactFormat):
    """numpy's own format, in C order: equal arrays become equal bytes, however their memory is laid out."""

    name = "npy"
    file = "array.npy"
    types = ("numpy.ndarray",)

    def write(self, value: Any, path: Path) -> None:
        kind = dotted_name(type(value))
        if kind not in _PLAIN:
            raise UserError(
                f"a {kind} would be read back as a plain numpy.ndarray; return numpy.asarray(...) of it, "
                "and what else there is to know of it as values of their own"
            )
        if value.dtype.hasobject:
            raise UserError(
                f"an array of dtype {value.dtype} holds Python objects, which would have to be pickled; "
                "give it a dtype of numbers, text or dates, as with array.astype(float)"
            )
        numpy = self.library("numpy")
        with path.open("wb") as file:
            numpy.lib.format.write_array(file, numpy.asarray(value, order="C"), allow_pickle=False)

    def read(self, path: Path, wanted: str) -> Any:
        numpy = self.library("numpy")
        try:
            # Not numpy.load: it would also take an archive of arrays.
            with path.open("rb") as file:
                return numpy.lib.format.read_array(file, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise DocumentError(
                f"{path.name} cannot be read as a numpy array: {error}; run its producer again"
            ) from error


FORMATS = (Arrays(),)
