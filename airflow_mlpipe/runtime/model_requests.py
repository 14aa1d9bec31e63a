"""``run.register_model`` and ``Model.register``: models to register when the step has succeeded."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from airflow_mlpipe.errors import UserError
from airflow_mlpipe.records import OutputSpec, Registration
from airflow_mlpipe.runtime.kept_files import KeptFiles, checked_name, files_in
from airflow_mlpipe.runtime.launch_spec import launch_spec
from airflow_mlpipe.runtime.named_values import UnknownNameError
from airflow_mlpipe.runtime.run_keeping import RunKeeping

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}")

# For which models this process asked to register a path, and the files that were there.
_asked_for: dict[str, tuple[set[str], list[tuple[str, int, int]]]] = {}


@dataclass(frozen=True)
class RequestedModel:
    """A model that will be registered. Its version is known when the step has succeeded; here it is None."""

    name: str
    description: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    properties: dict[str, str] = field(default_factory=dict)
    version: None = None

    @classmethod
    def of(
        cls,
        name: str,
        description: str | None,
        tags: Mapping[str, object] | None,
        properties: Mapping[str, object] | None,
    ) -> RequestedModel:
        """The model as a script of SDK v1 describes it."""
        return cls(name, description or "", _texts(tags), _texts(properties))

    @property
    def id(self) -> str:
        """The name: SDK v1's ``name:version`` needs a version."""
        return self.name


@dataclass(frozen=True)
class ModelRegistry:
    """Takes models of one run: from its kept *files* and its declared *outputs*; *ask* takes the request."""

    files: KeptFiles
    outputs: Mapping[str, OutputSpec]
    ask: Callable[[Registration], object]

    @classmethod
    def of_process(cls) -> ModelRegistry:
        """That of the step to which this process belongs; DocumentError when its spec cannot be read."""
        spec = launch_spec()
        keeping = RunKeeping.offline() if spec is None else RunKeeping.of(spec)
        return cls(keeping.files, {} if spec is None else spec.outputs, keeping.register)

    def register_kept(self, model: RequestedModel, path: str) -> RequestedModel:
        """Register what the run has at *path*: a kept file or folder, ``outputs/...``, or part of an output.

        Raises UserError when there is nothing, or the name may not be one of a model.
        """
        found = self._in_outputs(Path(path)) or self._among_files(path)
        if found is None:
            names = ", ".join(map(repr, [*self.files.names(), *self.outputs])) or "nothing at all"
            raise UserError(
                f"model {model.name!r} cannot be registered from {path!r}, which is neither a kept file nor "
                f"inside an output; the run has: {names}; write it to outputs/, or upload it first"
            )
        return self._request(model, *found)

    def register_local(self, model: RequestedModel, path: str) -> RequestedModel:
        """Register the file or folder *path*, wherever it lies; the run keeps a copy if it has none.

        Raises UserError as :meth:`register_kept`.
        """
        local = Path(path)
        if not local.exists():
            raise UserError(f"model {model.name!r} cannot be registered: there is no file or folder {path!r}")
        if local.is_dir() and not any(files_in(local)):
            raise UserError(f"model {model.name!r} cannot be registered: the folder {path!r} has no files")
        found: tuple[str | None, str] | None = self._in_outputs(local) or self._among_files(path)
        if found is None or (found[0] is None and not self.files.path(path).samefile(local)):
            found = None, f"models/{_checked(model.name)}/{local.resolve().name}"
            keep(self.files, found[1], local)
        return self._request(model, *found)

    def _request(self, model: RequestedModel, output: str | None, inside: str) -> RequestedModel:
        name = _checked(model.name)
        path = self.files.path(inside) if output is None else Path(self.outputs[output].path, inside)
        _refuse_rewritten(name, path)
        tags, properties = dict(model.tags), dict(model.properties)
        self.ask(Registration("model", name, output, inside, model.description, tags, properties))
        return model

    def _in_outputs(self, path: Path) -> tuple[str, str] | None:
        """The output that holds *path*, and where in it."""
        for name, output in self.outputs.items():
            root, place = Path(output.path).resolve(), path.resolve()
            if path.exists() and place.is_relative_to(root):
                inside = place.relative_to(root).as_posix()
                return name, "" if inside == "." else inside
        return None

    def _among_files(self, path: str) -> tuple[None, str] | None:
        try:
            self.files.path(path)
        except (UnknownNameError, UserError):
            return None
        return None, checked_name(path)


def keep(files: KeptFiles, name: str, source: Path) -> None:
    """Keep the file *source*, or all files in the folder *source*; raises as ``KeptFiles.keep``."""
    if not source.is_dir():
        files.keep(name, source)
        return
    for file in files_in(source):
        files.keep(f"{name}/{file.relative_to(source).as_posix()}", file)


def _refuse_rewritten(name: str, path: Path) -> None:
    """Raise UserError when *path* was another model before: what it holds at the end would be both."""
    there = files_in(path) if path.is_dir() else [path]
    state = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in there]
    names, before = _asked_for.setdefault(str(path), (set(), state))
    if before != state and (others := sorted(names - {name})):
        raise UserError(
            f"{path} was to be registered as model {others[0]!r}, and was written anew for model {name!r}; "
            "models are registered as they are when the step ends, so write each to a file of its own"
        )
    _asked_for[str(path)] = names | {name}, state


def _texts(values: Mapping[str, object] | None) -> dict[str, str]:
    return {name: str(value) for name, value in (values or {}).items()}


def _checked(name: str) -> str:
    if isinstance(name, str) and _NAME.fullmatch(name):
        return name
    raise UserError(
        f"model name {name!r} is not valid: use 1 to 200 letters, digits, '_', '-' and '.', starting with a "
        "letter, a digit or '_'"
    )
