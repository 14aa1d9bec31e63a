"""The inputs of a step by what its script calls them: the name of a registered dataset or model, or the id.

A script reaches nothing that the step did not declare: what it read besides would not count for reuse.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from airflow_mlpipe.errors import UserError
from airflow_mlpipe.records import InputSpec, LaunchSpec, Pin
from airflow_mlpipe.runtime import credentials
from airflow_mlpipe.runtime.launch_spec import launch_spec
from airflow_mlpipe.runtime.named_values import UnknownNameError

Version = int | str | None
_LATEST = (None, "latest")
_DECLARE = {
    "dataset": 'inputs=[Dataset.get_by_name("{name}")]',
    "model": 'inputs=[Model("{name}")]',
}


class UndeclaredError(UnknownNameError):
    """The script asks for a dataset or model that the step did not declare."""


@dataclass(frozen=True)
class NamedInput:
    """An input, by its own *name* in the step."""

    name: str
    spec: InputSpec

    @property
    def pin(self) -> Pin | None:
        """The registered version that it is."""
        return self.spec.pin


@dataclass(frozen=True)
class NamedInputs:
    """The inputs of a step, and the *texts* that stand for them in its arguments.

    *is_offline* outside a pipeline, where there are none.
    """

    specs: Mapping[str, InputSpec] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    is_offline: bool = False

    @classmethod
    def of_process(cls) -> NamedInputs:
        """Those of the step that this process belongs to; DocumentError when its spec cannot be read."""
        credentials.install()
        spec = launch_spec()
        return cls(is_offline=True) if spec is None else cls.of(spec)

    @classmethod
    def of(cls, spec: LaunchSpec) -> NamedInputs:
        """Those that *spec* tells of."""
        texts = {name: spec.environment.get(name, name) for name in spec.inputs}
        return cls(spec.inputs, texts)

    def registered(self, kind: Literal["dataset", "model"]) -> Iterator[NamedInput]:
        """The inputs that are registered things of *kind*."""
        for name, spec in self.specs.items():
            if spec.pin is not None and spec.pin.kind == kind:
                yield NamedInput(name, spec)

    def named(self, kind: Literal["dataset", "model"], name: str, version: Version = None) -> NamedInput:
        """The input that is the registered *name*; for a dataset, else the input that is called so.

        Raises UndeclaredError when there is none, or when it is another version than the script asks for. The
        error is printed as well: scripts take it for "nothing is registered yet", and go on.
        """
        try:
            return self._named(kind, name, version)
        except UndeclaredError as error:
            sys.stderr.write(f"airflow_mlpipe: {error}\n")
            raise

    def _named(self, kind: Literal["dataset", "model"], name: str, version: Version) -> NamedInput:
        for found in self.registered(kind):
            if found.pin is not None and found.pin.name == name:
                self._check_version(found.pin, version)
                return found
        if kind == "dataset" and name in self.specs and version in _LATEST:
            return NamedInput(name, self.specs[name])
        raise self._undeclared(kind, name)

    def of_id(self, text: str, id_of: Callable[[NamedInput], str]) -> NamedInput:
        """The input for which *text* stands in the arguments, or of which it is the id; UndeclaredError."""
        for name, spec in self.specs.items():
            found = NamedInput(name, spec)
            if text in (name, self.texts.get(name), id_of(found)):
                return found
        names = ", ".join(map(repr, sorted(self.specs))) or "none at all"
        raise UndeclaredError(
            f"no input of this step has the id {text!r}; its inputs are: {names}; pass the dataset in the "
            "step's arguments, whose text the script gets as the id"
        )

    def _check_version(self, pin: Pin, version: Version) -> None:
        if version not in _LATEST and str(version) != str(pin.version):
            keyword = f'"{pin.name}", version={version}'
            raise UndeclaredError(
                f"this step uses version {pin.version} of {pin.kind} {pin.name!r}, and its script asks for "
                f"version {version}; declare that one: "
                f"{_DECLARE[pin.kind].replace(chr(34) + '{name}' + chr(34), keyword)}"
            )

    def _undeclared(self, kind: Literal["dataset", "model"], name: str) -> UserError | UndeclaredError:
        if self.is_offline:
            return UserError(
                f"{kind} {name!r} is not known outside a pipeline; run the step in its DAG, or give the "
                "script a path"
            )
        names = ", ".join(repr(item.pin.name) for item in self.registered(kind) if item.pin) or "none at all"
        return UndeclaredError(
            f"this step declares no {kind} {name!r}, only: {names}; declare it in the DAG: "
            f"{_DECLARE[kind].format(name=name)}"
        )
