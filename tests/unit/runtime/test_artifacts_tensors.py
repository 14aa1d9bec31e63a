from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from airflow_mlpipe.errors import DocumentError, UserError
from airflow_mlpipe.runtime.artifacts.artifact import read_artifact, write_artifact

torch = pytest.importorskip("torch")

FILE = "tensors.safetensors"


def written(value: Any, folder: Path) -> bytes:
    write_artifact(value, folder)
    return (folder / FILE).read_bytes()


def through(value: Any, folder: Path, wanted: Any = Any) -> Any:
    write_artifact(value, folder)
    return read_artifact(folder, wanted)


def equal(left: dict[str, Any], right: dict[str, Any]) -> bool:
    return left.keys() == right.keys() and all(
        left[name].dtype == right[name].dtype and torch.equal(left[name], right[name]) for name in left
    )


def test_a_state_dict_comes_back_and_can_be_loaded(tmp_path: Path) -> None:
    model, other = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    state = through(model.state_dict(), tmp_path / "state")
    assert isinstance(state, OrderedDict)
    other.load_state_dict(state)
    assert equal(other.state_dict(), model.state_dict())


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64", "int64", "uint8", "bool"])
def test_every_dtype_and_shape_is_kept(tmp_path: Path, dtype: str) -> None:
    tensors = {"a": torch.ones(2, 3), "empty": torch.ones(0, 4), "one": torch.tensor(1)}
    tensors = {name: tensor.to(getattr(torch, dtype)) for name, tensor in tensors.items()}
    back = through(tensors, tmp_path / "tensors", dict)
    assert type(back) is dict
    assert equal(back, tensors)


def test_tensors_that_share_memory_or_have_gradients_come_back(tmp_path: Path) -> None:
    weight = torch.nn.Parameter(torch.arange(4.0))
    tensors = {"a": weight, "tied": weight, "turned": weight.reshape(2, 2).t(), "part": weight[1:3]}
    back = through(tensors, tmp_path / "tensors")
    assert equal(back, {name: tensor.detach() for name, tensor in tensors.items()})
    assert not back["a"].requires_grad


def test_a_tensor_by_itself_comes_back(tmp_path: Path) -> None:
    assert torch.equal(through(torch.arange(3), tmp_path / "tensor"), torch.arange(3))
    assert torch.equal(read_artifact(tmp_path / "tensor", torch.Tensor), torch.arange(3))


def test_a_dict_of_tensors_is_not_one_tensor(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"a dict of tensors, not one; annotate .* as dict\[str, torch.Tensor\]"
    ):
        through({"a": torch.ones(1)}, tmp_path / "tensors", torch.Tensor)


def test_the_order_of_a_dict_and_the_layout_in_memory_do_not_matter(tmp_path: Path) -> None:
    a, b = torch.arange(4.0).reshape(2, 2), torch.arange(3)
    first = written({"a": a, "b": b}, tmp_path / "first")
    assert first == written({"b": b, "a": a.t().contiguous().t()}, tmp_path / "second")
    assert first != written({"a": a, "c": b}, tmp_path / "third")


def test_the_file_is_read_by_others_too(tmp_path: Path) -> None:
    written({"a": torch.arange(3.0)}, tmp_path / "tensors")
    np.testing.assert_array_equal(
        safetensors.numpy.load_file(tmp_path / "tensors" / FILE)["a"], [0.0, 1.0, 2.0]
    )


def test_a_module_is_refused_with_what_to_return_instead(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a Linear is a torch module, .* return its state_dict\(\)"):
        write_artifact(torch.nn.Linear(1, 1), tmp_path / "model")


def test_a_sparse_tensor_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"the tensor 'a' has the layout torch.sparse_coo, .* its to_dense\(\)"
    ):
        write_artifact({"a": torch.eye(2).to_sparse()}, tmp_path / "tensors")


def test_a_tensor_without_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be written as safetensors"):
        write_artifact({"a": torch.empty(2, device="meta")}, tmp_path / "tensors")


def test_a_dict_with_anything_else_is_no_dict_of_tensors(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"torch.Tensor, which is not JSON"):
        write_artifact({"a": torch.ones(1), "epoch": 3}, tmp_path / "tensors")


@pytest.mark.parametrize("kept", [0, 5, 40, -1])
def test_a_truncated_file_is_damaged(tmp_path: Path, kept: int) -> None:
    content = written({"a": torch.arange(100)}, tmp_path / "tensors")
    (tmp_path / "tensors" / FILE).write_bytes(content[:kept])
    with pytest.raises(DocumentError, match=r"cannot be read as safetensors: .*; run its producer again"):
        read_artifact(tmp_path / "tensors")
