from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as arrays

from airflow_mlpipe.errors import DocumentError, UserError
from airflow_mlpipe.runtime.artifacts.artifact import read_artifact, write_artifact

FILE = "array.npy"


def written(value: Any, folder: Path) -> bytes:
    write_artifact(value, folder)
    return (folder / FILE).read_bytes()


class Bomb:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


@pytest.mark.filterwarnings("ignore:Stored array in format")  # names of fields that are not ASCII
@settings(max_examples=60, deadline=None)
@given(
    arrays.arrays(arrays.scalar_dtypes() | arrays.array_dtypes(), arrays.array_shapes(min_dims=0, min_side=0))
)
def test_any_array_comes_back(tmp_path_factory: pytest.TempPathFactory, array: Any) -> None:
    folder = tmp_path_factory.mktemp("a") / "array"
    write_artifact(array, folder)
    back = read_artifact(folder, np.ndarray)
    assert (back.dtype, back.shape, back.tobytes()) == (array.dtype, array.shape, array.tobytes())


def test_a_memory_map_is_read_as_an_array(tmp_path: Path) -> None:
    mapped = np.memmap(tmp_path / "raw", dtype=np.int16, mode="w+", shape=(2, 2))
    mapped[:] = 7
    write_artifact(mapped, tmp_path / "array")
    assert read_artifact(tmp_path / "array").tolist() == [[7, 7], [7, 7]]


def test_the_layout_in_memory_does_not_matter(tmp_path: Path) -> None:
    array = np.arange(12.0).reshape(3, 4)
    wide = np.zeros((3, 8))
    wide[:, ::2] = array
    layouts = [array, np.asfortranarray(array), wide[:, ::2], array[::-1][::-1]]
    assert len({written(layout, tmp_path / str(number)) for number, layout in enumerate(layouts)}) == 1


def test_another_dtype_shape_or_value_is_another_file(tmp_path: Path) -> None:
    others = [np.zeros(4), np.zeros(4, dtype=np.float32), np.zeros((2, 2)), np.ones(4)]
    assert len({written(other, tmp_path / str(number)) for number, other in enumerate(others)}) == 4


@pytest.mark.parametrize(
    "array", [np.array([1, "x", None], dtype=object), np.array([(1, [2])], dtype="i4,O")]
)
def test_python_objects_in_an_array_are_refused(tmp_path: Path, array: Any) -> None:
    with pytest.raises(
        UserError, match=r"holds Python objects, which would have to be pickled; give it a dtype"
    ):
        write_artifact(array, tmp_path / "array")


@pytest.mark.parametrize("array", [np.ma.masked_array([1, 2], [True, False]), np.rec.array([(1, 2.0)])])
def test_a_kind_of_array_that_would_lose_its_meaning_is_refused(tmp_path: Path, array: Any) -> None:
    with pytest.raises(UserError, match=r"would be read back as a plain numpy.ndarray; return numpy.asarray"):
        write_artifact(array, tmp_path / "array")


def test_a_pickle_in_an_array_is_not_run(tmp_path: Path) -> None:
    write_artifact(np.zeros(1), tmp_path / "array")
    bomb = Bomb(tmp_path / "exploded")
    np.save(tmp_path / "array" / FILE, np.array([bomb], dtype=object), allow_pickle=True)
    with pytest.raises(DocumentError, match="Object arrays cannot be loaded when allow_pickle=False"):
        read_artifact(tmp_path / "array")
    (tmp_path / "array" / FILE).write_bytes(pickle.dumps(bomb))
    with pytest.raises(DocumentError, match=r"array.npy cannot be read as a numpy array"):
        read_artifact(tmp_path / "array")
    assert not (tmp_path / "exploded").exists()


def test_an_archive_of_arrays_is_no_array(tmp_path: Path) -> None:
    write_artifact(np.zeros(1), tmp_path / "array")
    with (tmp_path / "array" / FILE).open("wb") as file:
        np.savez(file, a=np.zeros(1))
    with pytest.raises(DocumentError, match="cannot be read as a numpy array"):
        read_artifact(tmp_path / "array")


@pytest.mark.parametrize("kept", [0, 5, 40, -1])
def test_a_truncated_file_is_damaged(tmp_path: Path, kept: int) -> None:
    content = written(np.arange(100), tmp_path / "array")
    (tmp_path / "array" / FILE).write_bytes(content[:kept])
    with pytest.raises(DocumentError, match=r"cannot be read as a numpy array: .*; run its producer again"):
        read_artifact(tmp_path / "array")
