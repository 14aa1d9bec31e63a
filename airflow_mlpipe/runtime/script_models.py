"""``Model`` in a script: the registered models that its step declares, and asking for new versions."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from airflow_mlpipe.errors import UserError
from airflow_mlpipe.runtime.model_requests import ModelRegistry, RequestedModel
from airflow_mlpipe.runtime.named_inputs import NamedInput, NamedInputs, UndeclaredError, Version
from airflow_mlpipe.runtime.refused import Refused


class Model:
    """A registered model among the declared inputs of this step; UndeclaredError when it is none of them.

    *id* is ``name:version``. What a workspace is does not matter.
    """

    deploy = package = profile = Refused("this package runs pipelines, and serves no models")
    delete = update = add_tags = add_properties = Refused("a registered version stays as it is")

    def __init__(
        self,
        workspace: object = None,
        name: str | None = None,
        id: str | None = None,
        version: Version = None,
        **_of_v1: object,
    ) -> None:
        if id is not None:
            name, _, number = id.partition(":")
            version = number or version
        if name is None:
            raise UserError('Model needs the name of a registered model: Model(workspace, "digits")')
        self._take(NamedInputs.of_process().named("model", name, version))

    @classmethod
    def of(cls, found: NamedInput) -> Model:
        """The model that an input is."""
        model = cls.__new__(cls)
        model._take(found)
        return model

    def _take(self, found: NamedInput) -> None:
        pin = found.pin
        self.name = found.name if pin is None else pin.name
        self.version = None if pin is None else pin.version
        self._path = Path(found.spec.paths[0])

    @property
    def id(self) -> str:
        """``name:version``."""
        return f"{self.name}:{self.version}"

    @staticmethod
    def get_model_path(
        model_name: str, version: Version = None, _workspace: object = None, **_of_v1: object
    ) -> str:
        """The path of the model's file or folder; raises as the class does."""
        return str(Model(_workspace, model_name, version=version)._path)

    @staticmethod
    def list(workspace: object = None, name: str | None = None, **_of_v1: object) -> list[Model]:
        """The declared models, or the one of them that is called *name*; if none is, that is printed."""
        inputs = NamedInputs.of_process()
        if name is None:
            return [Model.of(item) for item in inputs.registered("model")]
        try:
            return [Model.of(inputs.named("model", name))]
        except UndeclaredError:
            return []

    @staticmethod
    def register(
        workspace: object = None,
        model_path: str | None = None,
        model_name: str | None = None,
        tags: Mapping[str, object] | None = None,
        properties: Mapping[str, object] | None = None,
        description: str | None = None,
        **_of_v1: object,
    ) -> RequestedModel:
        """Ask for a new version of *model_name* from the local file or folder *model_path*.

        It is registered when the step has succeeded. Raises UserError when nothing is there.
        """
        if model_path is None or model_name is None:
            raise UserError("Model.register needs model_path= and model_name=")
        model = RequestedModel.of(model_name, description, tags, properties)
        return ModelRegistry.of_process().register_local(model, str(model_path))

    def download(self, target_dir: str = ".", exist_ok: bool = False, exists_ok: bool | None = None) -> str:
        """Copy the model into the folder *target_dir*; return the path of its file or folder there.

        Raises UserError when something is there already, which *exist_ok* lets it replace.
        """
        target = Path(target_dir) / self._path.name
        if target.exists():
            if not (exist_ok or exists_ok):
                raise UserError(f"{target} is there already; pass exist_ok=True to replace it")
            if target.samefile(self._path):
                return str(target)
            if target.is_dir() and not target.is_symlink():
                shutil.rmtree(target)
            else:
                target.unlink()
        target.parent.mkdir(parents=True, exist_ok=True)
        if self._path.is_dir():
            shutil.copytree(self._path, target)
        else:
            shutil.copyfile(self._path, target)
        return str(target)

    def __repr__(self) -> str:
        return f"Model(name={self.name!r}, version={self.version!r})"
