"""From what the author declared to what this run has: values, references, content digests."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from airflow_mlpipe.errors import DefinitionError, UserError
from airflow_mlpipe.model.data import StepOutput
from airflow_mlpipe.model.dataset import SourceDataset
from airflow_mlpipe.model.inputs import TABLE_READER, AccessMode, DataInput, TabularFormat
from airflow_mlpipe.model.parameters import PipelineParameter
from airflow_mlpipe.model.query import QueryDataset
from airflow_mlpipe.model.reference import PipelineDataReference
from airflow_mlpipe.model.registered import RegisteredSource
from airflow_mlpipe.pipeline.dataflow import Dataflow
from airflow_mlpipe.pipeline.functions.call import FunctionCall, Tree, TreeMaker
from airflow_mlpipe.pipeline.functions.values import DATA
from airflow_mlpipe.pipeline.mapped_results import MISSING, resolved
from airflow_mlpipe.pipeline.queries import QueryRun
from airflow_mlpipe.pipeline.registered import RegisteredInputs
from airflow_mlpipe.records import Pin
from airflow_mlpipe.store.manifest import ManifestPin
from airflow_mlpipe.store.sources import Source, SourceFinder, join_references

_UNUSUAL = re.compile(r"[^A-Za-z0-9_.-]")
_LONGEST_NAME = 100


@dataclass(frozen=True)
class BoundInput:
    """An input of which it is known what it holds and where that lies.

    ``dataset`` is what it was found by, None for the outputs of steps; ``pin`` the registered version that it
    is, if it is one; ``query`` has the rows of a query.
    """

    name: str
    mode: AccessMode
    source: Source
    path_on_compute: str | None = None
    tabular: TabularFormat | None = None
    dataset: SourceDataset | None = None
    pin: Pin | None = None
    query: QueryRun | None = None

    def as_recipe(self) -> dict[str, Any]:
        """The input as it counts in the fingerprint: by content, never by place."""
        document: dict[str, Any] = {"digest": self.source.digest, "kind": self.source.kind, "mode": self.mode}
        if self.path_on_compute is not None:
            document["path_on_compute"] = self.path_on_compute
        if self.tabular is not None:
            document["table"] = {"reader": TABLE_READER, **self.tabular.model_dump(mode="json")}
        return document


@dataclass(frozen=True)
class InputToken:
    """Stands in the arguments for the path (a table: the id) of an input."""

    name: str


@dataclass(frozen=True)
class OutputToken:
    """Stands in the arguments for the path of an output."""

    name: str


Token = str | InputToken | OutputToken


@dataclass
class Binding:
    """The arguments, inputs and outputs of one task instance, and the ``parameters`` of a function as trees.

    ``undetermined`` are sentences on inputs whose content cannot be told, so that nothing may be reused;
    ``remarks`` are sentences on registered data that is not what it was when it was registered.
    """

    arguments: list[Token] = field(default_factory=list)
    inputs: dict[str, BoundInput] = field(default_factory=dict)
    outputs: dict[str, StepOutput] = field(default_factory=dict)
    parameters: dict[str, Tree] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    @property
    def pins(self) -> dict[str, ManifestPin]:
        """The registered versions among the inputs, by input."""
        pins = ((name, bound.pin) for name, bound in self.inputs.items() if bound.pin is not None)
        return {name: ManifestPin(kind=pin.kind, name=pin.name, version=pin.version) for name, pin in pins}

    @property
    def undetermined(self) -> list[str]:
        return [
            f"input {name}: {bound.source.undetermined}"
            for name, bound in self.inputs.items()
            if bound.source.undetermined
        ]


class Binder:
    """Binds the declarations of one task to one run of it; registered data is looked up in *registered*.

    The rows of queries wait in *query_results*, or where this machine has temporary files.
    """

    def __init__(
        self,
        task: Any,
        context: Any,
        finder: SourceFinder,
        registered: RegisteredInputs,
        query_results: Path | None = None,
    ) -> None:
        self._task = task
        self._context = context
        self._finder = finder
        self._registered = registered
        self._query_results = query_results or Path(tempfile.gettempdir())
        self._flow = Dataflow.of(task.dag)
        self._binding = Binding(outputs={output.name: output for output in self._flow.made_by(task.task_id)})
        self._known: list[tuple[DataInput, str]] = []

    def bind(self, arguments: Any, inputs: Sequence[Any]) -> Binding:
        """Bind all; raises UserError for data that is not there, DefinitionError for a wrong value."""
        if not isinstance(arguments, (list, tuple)):
            raise DefinitionError(f"arguments resolved to {arguments!r}; it must be a list")
        for item in inputs:
            self._input(item)
        for position, item in enumerate(arguments, start=1):
            self._binding.arguments.append(self._argument(item, position))
        return self._binding

    def bind_call(self, call: FunctionCall) -> Binding:
        """Bind a call of a function; raises as :meth:`bind`, DefinitionError also for a wrong argument."""
        maker = TreeMaker(
            call.signature,
            self._enter,
            self._as_data,
            lambda parameter: parameter_value(parameter, self._context, self._task.dag),
        )
        for name, value in call.complete().items():
            self._binding.parameters[name] = maker.tree(name, self._pull_all(value))
        return self._binding

    def _pull_all(self, value: Any) -> Any:
        """*value* with references, or a list of them for a mapped step, in place of outputs."""
        if isinstance(value, StepOutput):
            found = pulled(value, self._task.dag, self._context)
            return found if isinstance(found, PipelineDataReference) else found.as_list()
        if isinstance(value, (list, tuple)):
            return [self._pull_all(item) for item in value]
        if isinstance(value, Mapping):
            return {key: self._pull_all(item) for key, item in value.items()}
        return value

    def _enter(self, item: Any, name: str) -> str:
        """Take in data under *name*, or under the name that its author gave it.

        Keys of dicts, which may be any text, come in with *name*; it is to name a folder.
        """
        declared = _as_input(item)
        return self._add(declared, self._free_name(declared, _UNUSUAL.sub("_", name)[:_LONGEST_NAME]))

    def _as_data(self, value: Any, whole: bool) -> Any:
        """*value* if it is data, of a mapped step as one tree when it is to be *whole*; else None."""
        if isinstance(
            value, (DataInput, SourceDataset, QueryDataset, RegisteredSource, PipelineDataReference)
        ):
            return value
        return _references(value) if whole else None

    def _argument(self, item: Any, position: int) -> Token:
        if isinstance(item, StepOutput) and self._flow.maker(item) == self._task.task_id:
            return OutputToken(item.name)
        if isinstance(item, PipelineParameter):
            return str(parameter_value(item, self._context, self._task.dag))
        if isinstance(item, (str, int, float, bool)):
            return str(item)
        if isinstance(item, DATA) or _references(item):
            return InputToken(self._input(item))
        raise UserError(
            f"argument {position} resolved to {item!r} of type {type(item).__qualname__}; an upstream task "
            "must return a text, a number, or a reference to PipelineData for it"
        )

    def _input(self, item: Any) -> str:
        declared = _as_input(item)
        for known, name in self._known:
            if known == declared:
                return name
        base = getattr(declared.source, "default_input_name", None) or "input"
        name = self._add(declared, self._free_name(declared, base))
        self._known.append((declared, name))
        return name

    def _add(self, declared: DataInput, name: str) -> str:
        bind = self._found_input
        if isinstance(declared.source, RegisteredSource):
            bind = self._registered_input
        elif isinstance(declared.source, QueryDataset):
            bind = self._query_input
        self._binding.inputs[name] = bind(declared, name)
        return name

    def _found_input(self, declared: DataInput, name: str) -> BoundInput:
        return BoundInput(
            name,
            declared.mode,
            self._locate(declared.source, name),
            declared.path_on_compute,
            declared.tabular,
            declared.source if isinstance(declared.source, SourceDataset) else None,
        )

    def _registered_input(self, declared: DataInput, name: str) -> BoundInput:
        found = self._registered.bind(declared, lambda source: self._locate(source, name))
        if found.remark is not None:
            self._binding.remarks.append(found.remark)
        return BoundInput(
            name,
            declared.mode,
            found.source,
            declared.path_on_compute,
            found.table,
            found.dataset,
            found.pin,
        )

    def _query_input(self, declared: DataInput, name: str) -> BoundInput:
        run = QueryRun(declared.source, f"input {name}", self._query_results)
        return BoundInput(
            name, declared.mode, run.source(), declared.path_on_compute, declared.tabular, query=run
        )

    def _free_name(self, declared: DataInput, base: str) -> str:
        if declared.name is not None:
            if declared.name in self._binding.inputs:
                raise DefinitionError(f"two inputs have the name {declared.name!r}; give each its own")
            return declared.name
        name, number = base, 1
        while name in self._binding.inputs:
            number += 1
            name = f"{base}_{number}"
        return name

    def _locate(self, source: Any, name: str) -> Source:
        if isinstance(source, StepOutput):
            source = pulled(source, self._task.dag, self._context)
        if isinstance(source, PipelineDataReference):
            return self._finder.reference(source)
        if isinstance(source, SourceDataset):
            return self._finder.dataset(source.paths, source.identity, f"input {name}", source.selection)
        members = {index: self._finder.reference(member) for index, member in source.by_index.items()}
        return join_references(members)


@dataclass(frozen=True)
class MaterialReferences:
    """The references that *count* instances of a mapped step handed on, in the order of their map indexes."""

    by_index: Mapping[int, PipelineDataReference]
    count: int
    default_input_name: ClassVar[None] = None

    def as_list(self) -> list[Any]:
        """The references with MISSING in the gaps."""
        return [self.by_index.get(index, MISSING) for index in range(self.count)]


def pulled(output: StepOutput, dag: Any, context: Any) -> PipelineDataReference | MaterialReferences:
    """What the step of *dag* that makes *output* has handed on for it.

    Raises UserError when that is no reference, DefinitionError when no step makes it.
    """
    maker = Dataflow.of(dag).maker(output)
    if maker is None:
        raise DefinitionError(f"{output.name!r} is read, but no step of the DAG produces it")
    value = resolved(dag.get_task(maker).output[output.name], context)
    if isinstance(value, PipelineDataReference):
        return value
    references = _references(value)
    if references is None:
        raise UserError(
            f"step {maker!r} handed on no reference for {output.name!r} but {value!r}; did it "
            "succeed in this run?"
        )
    return references


def parameter_value(parameter: PipelineParameter, context: Any, dag: Any) -> Any:
    """The run's value of *parameter*; DefinitionError when the DAG has no such param.

    A whole number is a float where the DAG's own value is one: the Trigger form sends ``1`` for ``1.0``,
    and that must not count as a change.
    """
    params = context["params"]
    if parameter.name in params:
        value = params[parameter.name]
        declared = dag.params.get(parameter.name)
        return float(value) if type(value) is int and isinstance(declared, float) else value
    if parameter.has_default:
        return parameter.default_value
    known = ", ".join(sorted(params)) or "none"
    raise DefinitionError(f"the DAG has no param {parameter.name!r}; it has {known}")


def _as_input(item: Any) -> DataInput:
    if isinstance(item, DataInput):
        return item
    if isinstance(item, (SourceDataset, QueryDataset, RegisteredSource)):
        return item.as_unnamed_input()
    if isinstance(item, StepOutput):
        return item.as_input()
    references = item if isinstance(item, MaterialReferences) else _references(item)
    if references is None and not isinstance(item, PipelineDataReference):
        raise UserError(
            f"an input resolved to {item!r} of type {type(item).__qualname__}; an upstream task must return "
            "a reference to PipelineData for it"
        )
    return DataInput(source=item if references is None else references)


def _references(value: Any) -> MaterialReferences | None:
    """*value* as the references of a mapped step, or None when it is anything else.

    Its positions are the map indexes; there may be gaps.
    """
    if isinstance(value, (str, bytes, PipelineDataReference)) or not isinstance(value, Iterable):
        return None
    items = list(value)
    by_index = {index: item for index, item in enumerate(items) if item is not MISSING}
    if not by_index or not all(isinstance(item, PipelineDataReference) for item in by_index.values()):
        return None
    return MaterialReferences(by_index, len(items))
