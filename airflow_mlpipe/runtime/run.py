"""``Run.get_context()``: what a step's script knows about the run it is part of."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from airflow_mlpipe import access
from airflow_mlpipe.errors import UserError
from airflow_mlpipe.records import InputSpec, LaunchSpec, RunInfo
from airflow_mlpipe.runtime import credentials
from airflow_mlpipe.runtime.launch_spec import launch_spec
from airflow_mlpipe.runtime.logging_run import LoggingRun
from airflow_mlpipe.runtime.model_requests import ModelRegistry, RequestedModel, keep
from airflow_mlpipe.runtime.named_inputs import NamedInputs
from airflow_mlpipe.runtime.named_values import NamedValues
from airflow_mlpipe.runtime.parent_run import ParentRun
from airflow_mlpipe.runtime.refused import Refused
from airflow_mlpipe.runtime.run_keeping import RunKeeping
from airflow_mlpipe.runtime.tabular import TabularDataset
from airflow_mlpipe.runtime.workspace import Workspace

Input = str | TabularDataset

_CHILDREN = "a step has no runs below it; make each part a step of the DAG, or log to this run"
_SUBMIT = "Airflow starts runs; write a DAG with a PythonScriptStep"


@dataclass(frozen=True)
class Experiment:
    """What groups the runs of a pipeline."""

    name: str
    workspace: Workspace


class Run(LoggingRun):
    """The run of one step, as its script sees it.

    ``input_datasets`` has the path of each file input and a :class:`TabularDataset` for each tabular one;
    ``output_datasets`` has the path of each output. Asking either for an unknown name raises
    :class:`~airflow_mlpipe.runtime.named_values.UnknownNameError`, a KeyError that lists the names there are.
    """

    input_datasets: NamedValues[Input]
    output_datasets: NamedValues[str]

    child_run = create_children = submit_child = get_children = Refused(_CHILDREN)
    submit = Refused(_SUBMIT)
    wait_for_completion = Refused("a run ends with its process, which cannot wait for itself")
    get_secret = Refused(
        "give the step environment_variables, whose values may come from Airflow's connections and variables"
    )

    def __init__(self, spec: LaunchSpec, keeping: RunKeeping) -> None:
        super().__init__(spec.run.id, "run", keeping.metrics, keeping.files)
        info = spec.run
        self._info = info
        self.name = info.task_id if info.map_index < 0 else f"{info.task_id}[{info.map_index}]"
        self.parent = ParentRun(info.dag_run_id, keeping.metrics, keeping.files, keeping.children)
        self.try_number = info.try_number
        named = NamedInputs.of(spec)
        self.experiment = Experiment(info.experiment, Workspace.of(named))
        inputs = {name: _input(name, item) for name, item in spec.inputs.items()}
        pinned = {item.pin.name: inputs[name] for name, item in spec.inputs.items() if item.pin is not None}
        self.input_datasets = NamedValues("input", inputs, others=pinned)
        self.output_datasets = NamedValues(
            "output", {name: output.path for name, output in spec.outputs.items()}
        )
        self._models = ModelRegistry(keeping.files, spec.outputs, keeping.register)

    @classmethod
    def get_context(cls, allow_offline: bool = True) -> Run:
        """The run that this process belongs to; outside a pipeline, one of the same shape that prints.

        Raises DocumentError when the process was told of a run that cannot be read, and UserError outside a
        pipeline when that is not allowed.
        """
        credentials.install()
        if (spec := launch_spec()) is not None:
            return cls(spec, RunKeeping.of(spec))
        if not allow_offline:
            raise UserError("this process belongs to no run; start the script as a step of a DAG")
        return OfflineRun()

    # -- facts ------------------------------------------------------------------------------------------

    @property
    def status(self) -> str:
        """``Running``: it runs as long as somebody can ask it."""
        return "Running"

    def get_status(self) -> str:
        """The same as :attr:`status`."""
        return self.status

    def get_tags(self) -> dict[str, str]:
        """The tags the run was started with, and those attached since."""
        return {**self._info.tags, **super().get_tags()}

    def get_details(self) -> dict[str, Any]:
        """A few facts under their v1 names."""
        return {
            "runId": self.id,
            "status": self.status,
            "experimentName": self.experiment.name,
            "parentRunId": self.parent.id,
            "tags": self.tags,
            "properties": self.properties,
            "portalUrl": self._info.run_url,
        }

    def get_portal_url(self) -> str:
        """Where a browser finds the run; "" when nobody knows."""
        return self._info.run_url or ""

    # -- files ------------------------------------------------------------------------------------------

    def upload_file(self, name: str, path_or_stream: str) -> None:
        """Keep a copy of the file at *path_or_stream* with the run, as *name*.

        A name ``outputs/...`` means the place in ``./outputs``, which is kept when the step has ended.
        UserError for a name that is taken or leads elsewhere, and for a file that is not there.
        """
        self._files.keep(name, Path(path_or_stream))

    def upload_files(self, names: Sequence[str], paths: Sequence[str]) -> None:
        """Keep several files; raises as :meth:`upload_file`."""
        if len(names) != len(paths):
            raise UserError(f"upload_files got {len(names)} names for {len(paths)} paths; give one for each")
        for name, path in zip(names, paths):  # noqa: B905 - their lengths are compared above
            self.upload_file(name, path)

    def upload_folder(self, name: str, path: str) -> None:
        """Keep all files of the folder at *path* below *name*; raises as :meth:`upload_file`."""
        if not Path(path).is_dir():
            raise UserError(f"{path!r} is no folder; use upload_file for a file")
        keep(self._files, name, Path(path))

    def get_file_names(self) -> list[str]:
        """The names of the kept files and of those in ``./outputs``, sorted."""
        return self._files.names()

    def download_file(self, name: str, output_file_path: str | None = None) -> str:
        """Copy the kept file *name* to *output_file_path*, a file or an existing folder; return where it is.

        The default is the working directory. Raises UnknownNameError when there is no such file.
        """
        target = Path(output_file_path or ".")
        if target.is_dir():
            target /= Path(name).name
        target.parent.mkdir(parents=True, exist_ok=True)
        source = self._files.path(name)
        if not (target.exists() and target.samefile(source)):
            shutil.copyfile(source, target)
        return str(target)

    def download_files(
        self, prefix: str | None = None, output_directory: str | None = None, append_prefix: bool = True
    ) -> list[str]:
        """Copy the kept files whose names begin with *prefix* into *output_directory*; return where they are.

        Without *append_prefix* their paths there are without it.
        """
        start, folder = prefix or "", Path(output_directory or ".")
        return [
            self.download_file(
                name, str(folder / (name if append_prefix else name.removeprefix(start).lstrip("/")))
            )
            for name in self.get_file_names()
            if name.startswith(start)
        ]

    # -- models -----------------------------------------------------------------------------------------

    def register_model(
        self,
        model_name: str,
        model_path: str | None = None,
        tags: Mapping[str, object] | None = None,
        properties: Mapping[str, object] | None = None,
        description: str | None = None,
        **_of_v1: object,
    ) -> RequestedModel:
        """Ask for a new version of the model *model_name*, registered when the step has succeeded.

        *model_path* is a file or folder in ``outputs/``, one that was uploaded, or one inside a declared
        output; default is *model_name*. What else SDK v1 could be told is not kept. Raises UserError when
        nothing is there, or the name may not be one of a model.
        """
        model = RequestedModel.of(model_name, description, tags, properties)
        return self._models.register_kept(model, model_path or model_name)

    def register_local_model(self, model: RequestedModel, path: str) -> RequestedModel:
        """The same for a file or folder anywhere on this machine, of which the run keeps a copy."""
        return self._models.register_local(model, path)

    # -- other data -------------------------------------------------------------------------------------

    @staticmethod
    def filesystem(url: str) -> tuple[Any, str]:
        """The fsspec filesystem that opens *url*, and the path of *url* in it.

        The credentials are those that the step was handed for its declared data; see
        :func:`airflow_mlpipe.access.filesystem` for what is raised. What is read so is no input.
        """
        credentials.install()
        return access.filesystem(url)

    @staticmethod
    def open(url: str, mode: str = "rb", **options: Any) -> Any:
        """Open the file at *url* by fsspec; raises as :meth:`filesystem`, and what the driver raises."""
        found, path = Run.filesystem(url)
        return found.open(path, mode, **options)

    # -- the end ----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Nothing: the run has started."""

    def flush(self, timeout_seconds: float = 0) -> None:
        """Flush what was printed; what was logged is written already."""
        sys.stdout.flush()
        sys.stderr.flush()

    def complete(self) -> None:
        """Flush what was printed. The run itself ends with its process."""
        self.flush()

    def fail(
        self, error_details: object = None, error_code: object = None, _set_status: bool = True
    ) -> NoReturn:
        """End the script with UserError: a step that was said to have failed must not succeed."""
        what = ": ".join(str(part) for part in (error_code, error_details) if part is not None)
        raise UserError(f"the script says that its run failed{f': {what}' if what else ''}")

    def cancel(self) -> NoReturn:
        """End the script with UserError: nothing of a step that was cancelled is kept for reuse."""
        raise UserError("the script cancelled its run")


class OfflineRun(Run):
    """The run of a script outside a pipeline: everything is there, is printed, and is not kept."""

    def __init__(self) -> None:
        super().__init__(_OFFLINE, RunKeeping.offline())
        self.experiment = Experiment(self.experiment.name, Workspace())


_OFFLINE = LaunchSpec(
    attempt="offline",
    fingerprint="",
    argv=[],
    directory="",
    working_directory="",
    run=RunInfo(
        id="OfflineRun",  # scripts of SDK v1 look for this beginning
        experiment="offline",
        dag_id="offline",
        dag_run_id="offline",
        task_id="offline",
        map_index=-1,
        try_number=1,
    ),
)


def _input(name: str, spec: InputSpec) -> Input:
    if spec.kind == "tabular":
        return TabularDataset(spec.paths, spec.definition, name=name)
    return spec.paths[0]
