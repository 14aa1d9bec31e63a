"""Who makes which data in a DAG, who reads it, and the edges that follow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_mlpipe.errors import DefinitionError
from airflow_mlpipe.model.data import StepOutput
from airflow_mlpipe.model.inputs import DataInput

_ATTRIBUTE = "_mlpipe_dataflow"


@dataclass
class Dataflow:
    """The data of one DAG: each output with the task that makes it, and the tasks that read it.

    An output is made by the step that lists it in ``outputs``. One that stands in the arguments of
    steps without being listed anywhere is made by the first of them and read by the others, the rule by
    which v1 pipelines are written; a step that lists it later takes that role over, so that the order in
    which steps are written does not matter. Only task ids are kept, so that copies of the DAG stay valid.
    """

    makers: dict[StepOutput, str] = field(default_factory=dict)
    made: dict[str, list[StepOutput]] = field(default_factory=dict)
    listed: set[StepOutput] = field(default_factory=set)
    readers: dict[StepOutput, list[str]] = field(default_factory=dict)
    read: dict[str, list[StepOutput]] = field(default_factory=dict)
    edges: dict[tuple[str, str], set[StepOutput]] = field(default_factory=dict)
    postponed: dict[tuple[str, StepOutput], str] = field(default_factory=dict)

    @staticmethod
    def of(dag: Any) -> Dataflow:
        """The dataflow of *dag*, made at the first question."""
        if not hasattr(dag, _ATTRIBUTE):
            setattr(dag, _ATTRIBUTE, Dataflow())
        flow: Dataflow = getattr(dag, _ATTRIBUTE)
        return flow

    def join(self, dag: Any, task_id: str, *, arguments: Any, inputs: Any, outputs: Any) -> None:
        """Let a task take part; edges to and from tasks that are already there follow at once.

        Raises DefinitionError for an output that two steps make, two outputs of one name, a step that
        reads its own output, and a cycle.
        """
        listed, read = list(_outputs_in(outputs)), set(_inputs_in([inputs, arguments]))
        mentioned = [output for output in _outputs_in(arguments) if output not in read]
        read.update(output for output in _outputs_in(inputs))
        for output in listed:
            self._claim(dag, task_id, output)
        for output in mentioned:
            if output in listed or output in read:
                continue
            if output not in self.makers:
                self._make(dag, task_id, output)
            elif self.makers[output] != task_id:
                read.add(output)
        if own := [output.name for output in read if self.makers.get(output) == task_id]:
            raise DefinitionError(f"step {task_id!r} reads its own output {own[0]!r}; use two PipelineData")
        for output in read:
            self._read(dag, task_id, output)
        self._check_names(task_id)

    def maker(self, output: StepOutput) -> str | None:
        """The id of the task that makes *output*."""
        return self.makers.get(output)

    def made_by(self, task_id: str) -> list[StepOutput]:
        """The outputs of a task, in the order in which they were declared."""
        return self.made.get(task_id, [])

    def check(self, task_id: str) -> None:
        """Raise DefinitionError when a task reads an output that no step makes, or that closes a cycle."""
        for output in self.read.get(task_id, []):
            maker = self.makers.get(output)
            if maker is not None and self.postponed.get((task_id, output)) == maker:
                raise _cycle(maker, task_id, output)
            if maker is None:
                raise DefinitionError(
                    f"step {task_id!r} reads {output.name!r}, which no step of the DAG produces; list it "
                    "in the outputs, or put it into the arguments, of the step that writes it"
                )

    def _claim(self, dag: Any, task_id: str, output: StepOutput) -> None:
        previous = self.makers.get(output)
        if output in self.listed and previous != task_id:
            raise DefinitionError(
                f"output {output.name!r} is produced twice: by step {previous!r} and by step {task_id!r}; "
                "give each its own PipelineData"
            )
        self.listed.add(output)
        if previous == task_id:
            return
        if previous is None:
            self._make(dag, task_id, output)
            return
        self.made[previous].remove(output)
        for reader in self.readers.get(output, []):
            self._disconnect(dag, previous, reader, output)
        self._make(dag, task_id, output)
        self._read(dag, previous, output)

    def _make(self, dag: Any, task_id: str, output: StepOutput) -> None:
        self.makers[output] = task_id
        self.made.setdefault(task_id, []).append(output)
        for reader in self.readers.get(output, []):
            self._connect(dag, task_id, reader, output)

    def _read(self, dag: Any, task_id: str, output: StepOutput) -> None:
        readers = self.readers.setdefault(output, [])
        if task_id not in readers:
            readers.append(task_id)
            self.read.setdefault(task_id, []).append(output)
        if (maker := self.makers.get(output)) is not None:
            self._connect(dag, maker, task_id, output)

    def _connect(self, dag: Any, maker: str, reader: str, output: StepOutput) -> None:
        upstream, downstream = dag.get_task(maker), dag.get_task(reader)
        if reader not in upstream.downstream_task_ids:
            if _reaches(dag, reader, maker):
                if output in self.listed:
                    raise _cycle(maker, reader, output)
                # A step further down the file may still turn out to be the maker.
                self.postponed[reader, output] = maker
                return
            upstream.set_downstream(downstream)
            self.edges[maker, reader] = {output}
        elif (maker, reader) in self.edges:
            self.edges[maker, reader].add(output)

    def _disconnect(self, dag: Any, maker: str, reader: str, output: StepOutput) -> None:
        """Take an edge back that nothing but *output* was the reason of."""
        reasons = self.edges.get((maker, reader), set())
        reasons.discard(output)
        if not reasons and self.edges.pop((maker, reader), None) is not None:
            dag.get_task(maker).downstream_task_ids.discard(reader)
            dag.get_task(reader).upstream_task_ids.discard(maker)

    def _check_names(self, task_id: str) -> None:
        names = [output.name for output in self.made_by(task_id)]
        if twice := {name for name in names if names.count(name) > 1}:
            raise DefinitionError(
                f"step {task_id!r} has two outputs of the name {min(twice)!r}; each needs a name of its own"
            )


def _cycle(maker: str, reader: str, output: StepOutput) -> DefinitionError:
    return DefinitionError(
        f"step {reader!r} reads {output.name!r} of step {maker!r}, which itself comes after "
        f"{reader!r}: the pipeline has a cycle; remove one of the two dependencies"
    )


def _reaches(dag: Any, start: str, goal: str) -> bool:
    waiting, seen = [start], {start}
    while waiting:
        for follower in dag.get_task(waiting.pop()).downstream_task_ids - seen:
            if follower == goal:
                return True
            seen.add(follower)
            waiting.append(follower)
    return False


def _outputs_in(value: Any) -> Iterator[StepOutput]:
    return (item for item in _leaves(value) if isinstance(item, StepOutput))


def _inputs_in(value: Any) -> Iterator[StepOutput]:
    for item in _leaves(value):
        if isinstance(item, DataInput) and isinstance(item.source, StepOutput):
            yield item.source


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        for item in value.values():
            yield from _leaves(item)
    elif isinstance(value, Iterable) and not isinstance(value, (str, bytes, StepOutput, DataInput)):
        if isinstance(value, (list, tuple, set, frozenset)):
            for item in value:
                yield from _leaves(item)
    else:
        yield value
