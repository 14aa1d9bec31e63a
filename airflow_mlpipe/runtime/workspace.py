"""``run.experiment.workspace``: the step's declared data, as scripts of SDK v1 look for it."""

from __future__ import annotations

from typing import Any

from airflow_mlpipe.runtime.named_inputs import NamedInputs
from airflow_mlpipe.runtime.named_values import NamedValues
from airflow_mlpipe.runtime.refused import Refused
from airflow_mlpipe.runtime.script_datasets import FileDataset, registered_datasets
from airflow_mlpipe.runtime.script_models import Model
from airflow_mlpipe.runtime.tabular import TabularDataset

_NAME = "airflow_mlpipe"
_IN_THE_DAG = "that is for the DAG, where Airflow and airflow_mlpipe do it"
_WRITE = "let the step write to an OutputFileDatasetConfig(destination=(Datastore(...), path))"
_READ = 'declare the data: inputs=[Dataset.File.from_files((Datastore("raw"), "path")).as_named_input("raw")]'


class Datastore:
    """The name of a datastore. Data goes from and to datastores by declared inputs and outputs only."""

    upload = upload_files = Refused(_WRITE)
    download = path = Refused(_READ)

    def __init__(self, workspace: object = None, name: str = "default") -> None:
        self.name = name

    @staticmethod
    def get(workspace: object, datastore_name: str) -> Datastore:
        """The datastore of that name."""
        return Datastore(workspace, datastore_name)

    @staticmethod
    def get_default(workspace: object) -> Datastore:
        """The deployment's own datastore."""
        return Datastore(workspace)

    register_azure_blob_container = register_azure_file_share = register_azure_data_lake_gen2 = Refused(
        "make an Airflow connection of type mlpipe_datastore"
    )

    def __repr__(self) -> str:
        return f"Datastore({self.name!r})"


class _DatastoresByName(dict[str, Datastore]):
    """Every name is that of a datastore: what it stands for is not asked in a step."""

    def __missing__(self, name: str) -> Datastore:
        return Datastore(None, name)


class Workspace:
    """What a script may ask a workspace for: the declared datasets and models of its step.

    The coordinates that SDK v1 found a workspace by mean nothing here.
    """

    name = _NAME
    subscription_id = resource_group = location = ""

    create = delete = setup = list = write_config = set_default_datastore = Refused(_IN_THE_DAG)
    compute_targets = environments = images = webservices = experiments = Refused(_IN_THE_DAG)
    get_default_compute_target = Refused(_IN_THE_DAG)
    get_default_keyvault = Refused(
        "give the step environment_variables, whose values may come from Airflow's connections and variables"
    )

    def __init__(self, *_of_v1: object, **_more_of_v1: object) -> None:
        self._inputs = NamedInputs.of_process()

    @classmethod
    def of(cls, inputs: NamedInputs) -> Workspace:
        """The workspace of a step that has *inputs*."""
        workspace = cls.__new__(cls)
        workspace._inputs = inputs
        return workspace

    @classmethod
    def from_config(cls, *_of_v1: object, **_more_of_v1: object) -> Workspace:
        """The workspace of this step; no file is read."""
        return cls()

    @classmethod
    def get(cls, *_of_v1: object, **_more_of_v1: object) -> Workspace:
        """The workspace of this step."""
        return cls()

    @property
    def datasets(self) -> NamedValues[FileDataset | TabularDataset]:
        """The registered datasets that the step declares, by name."""
        return registered_datasets(self._inputs)

    @property
    def models(self) -> NamedValues[Model]:
        """The registered models that the step declares, by name."""
        found = {item.pin.name: Model.of(item) for item in self._inputs.registered("model") if item.pin}
        return NamedValues("model", found, advice='declare it in the DAG: inputs=[Model("{name}")]')

    @property
    def datastores(self) -> dict[str, Datastore]:
        """A datastore for every name."""
        return _DatastoresByName()

    def get_default_datastore(self) -> Datastore:
        """The deployment's own datastore."""
        return Datastore.get_default(self)

    def get_details(self) -> dict[str, Any]:
        """The name, under its v1 name."""
        return {"name": self.name}

    def __repr__(self) -> str:
        return f"Workspace({self.name!r})"
