"""Tensors of torch, and dicts of them such as a state dict, as safetensors."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

from airflow_mlpipe.errors import DocumentError, UserError
from airflow_mlpipe.runtime.artifacts.registry import ArtifactFormat, dotted_name, dotted_names

TENSOR = "torch.Tensor"
MODULE = "torch.nn.modules.module.Module"

_ONLY = "tensor"  # the name in the file of a tensor that is returned by itself


class Tensors(ArtifactFormat):
    """A dict from text to dense tensors, or one tensor; read to the CPU, without gradients, dicts by name.

    Tensors that share memory come back as copies; equal tensors become equal bytes.
    """

    name = "safetensors"
    file = "tensors.safetensors"
    types = (dict, OrderedDict, TENSOR, MODULE)

    def accepts(self, value: Any) -> bool:
        if not isinstance(value, dict):
            return True
        return bool(value) and all(isinstance(name, str) and _is_tensor(value[name]) for name in value)

    def write(self, value: Any, path: Path) -> None:
        if MODULE in dotted_names(type(value)):
            raise UserError(
                f"a {type(value).__name__} is a torch module, which only pickle could write; "
                "return its state_dict(), and load_state_dict() where it is read"
            )
        tensors = value if isinstance(value, dict) else {_ONLY: value}
        safetensors = self.library("safetensors.torch", extra="torch")
        try:
            safetensors.save_file(_apart(tensors), path)
        except (ValueError, KeyError, RuntimeError) as error:  # of an unknown dtype, without data
            raise UserError(
                f"the tensors cannot be written as safetensors: {error}; make each a dense tensor of numbers"
            ) from error

    def read(self, path: Path, wanted: str) -> Any:
        self.library("torch")
        safetensors = self.library("safetensors", extra="torch")
        torch_files = self.library("safetensors.torch", extra="torch")
        try:
            tensors = torch_files.load_file(path)
        except (safetensors.SafetensorError, OSError, ValueError) as error:
            raise DocumentError(
                f"{path.name} cannot be read as safetensors: {error}; run its producer again"
            ) from error
        if wanted == dotted_name(OrderedDict):
            return OrderedDict(tensors)
        if wanted != TENSOR:
            return tensors
        if tensors.keys() != {_ONLY}:
            raise UserError(
                "it is a dict of tensors, not one; annotate the parameter as dict[str, torch.Tensor]"
            )
        return tensors[_ONLY]


def _is_tensor(value: Any) -> bool:
    return TENSOR in dotted_names(type(value))


def _apart(tensors: dict[str, Any]) -> dict[str, Any]:
    """The tensors without gradients, each contiguous and, as the format asks, in memory of its own.

    Raises UserError for one that is not dense.
    """
    apart = {}
    seen = set()
    for name, tensor in tensors.items():
        if str(tensor.layout) != "torch.strided":
            raise UserError(
                f"the tensor {name!r} has the layout {tensor.layout}, which safetensors cannot hold; "
                "return its to_dense()"
            )
        dense = tensor.detach().contiguous()
        memory = dense.untyped_storage().data_ptr()
        apart[name] = dense.clone() if memory in seen else dense
        seen.add(memory)
    return apart


FORMATS = (Tensors(),)
