"""Finding out why a step ran: comparing it with an earlier run, and so on up to what began it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace

from airflow_mlpipe.errors import NotFoundError
from airflow_mlpipe.model.reference import ProducerReference
from airflow_mlpipe.pipeline.explaining.explanation import TOLD, Baseline, Cause, Change, Choice, Explanation
from airflow_mlpipe.pipeline.explaining.history import History, PastRun
from airflow_mlpipe.pipeline.settings import Settings
from airflow_mlpipe.pipeline.stores import Stores
from airflow_mlpipe.reuse.code_difference import LARGEST_FILE, CodeDifference, code_difference
from airflow_mlpipe.reuse.explain import Difference, differences, equal_parts
from airflow_mlpipe.reuse.input_lists import lists_of_inputs
from airflow_mlpipe.reuse.recipe import PARTS, Recipe
from airflow_mlpipe.store.run_record import InputOrigin, RunRecord

# What an explanation holds at most: diffs in all, outputs that one input is made of, steps in a row.
MOST_DIFFS = 40
MOST_CAUSES = 10
DEEPEST = 30


def explain(
    dag_id: str,
    run_id: str,
    task_id: str,
    map_index: int = -1,
    *,
    against: str | None = None,
    stores: Stores | None = None,
    may_see: Callable[[str], bool] = lambda dag_id: True,
) -> Explanation:
    """Why a task instance ran its step or reused outputs, compared with an earlier run of the task.

    *map_index* is -1 for a task that is not mapped. *against* is the id of the run to compare with; without
    it, that is the run whose recipe the decision compared with, else the latest earlier run. *stores* are
    those of the deployment unless given. *may_see* says of a DAG id whether more of that DAG may be told than
    the ids of its runs and tasks.

    Raises NotFoundError when a run has no record, DocumentError when its record is unreadable, StoreError
    when a store fails, DefinitionError for a wrong configuration.
    """
    history = History(Stores.open(Settings.read()) if stores is None else stores)
    instance = ProducerReference(dag_id=dag_id, run_id=run_id, task_id=task_id, map_index=map_index)
    record = history.record(instance)
    if against is None:
        earlier, choice = _baseline(history, record)
    else:
        asked = instance.model_copy(update={"run_id": against})
        earlier, choice = PastRun.of(history.record(asked)), "asked"
    if earlier is None:
        return Explanation(record)
    baseline = Baseline(earlier.fingerprint, earlier.instance, choice)
    if earlier.fingerprint == record.fingerprint:
        return Explanation(record, baseline, equal_parts=PARTS)
    try:
        changes, equal = _Comparison(history, may_see).of(earlier, PastRun.of(record))
    except NotFoundError as error:
        return Explanation(record, baseline, note=str(error))
    return Explanation(record, baseline, changes, equal)


def _baseline(history: History, record: RunRecord) -> tuple[PastRun | None, Choice]:
    if record.action == "reused" and record.producer is not None:
        return history.run(record.producer, record.fingerprint), "producer"
    if record.compared_with is not None:
        return history.nearest(record, record.compared_with), "nearest"
    return next(iter(history.before(record)), None), "latest"


class _Comparison:
    """One walk from a step up to what began its changes. Each pair of recipes is told once."""

    def __init__(self, history: History, may_see: Callable[[str], bool]) -> None:
        self._history = history
        self._may_see = may_see
        self._told: set[tuple[str, str]] = set()
        self._diffs_left = MOST_DIFFS

    def of(self, old: PastRun, new: PastRun, depth: int = 0) -> tuple[tuple[Change, ...], tuple[str, ...]]:
        """The changes from *old* to *new*, and the parts without any; NotFoundError for an unknown recipe."""
        before, after = self._history.recipe(old), self._history.recipe(new)
        found = differences(before, after)
        code = self._code(found, (old, before), (new, after))
        moved = {name: was for lists in lists_of_inputs(before, after) for was, name in lists.pairs}
        changes = []
        for difference in found:
            if difference.part == "code" and difference.subject in code:
                changes.append(Change(difference, code=code[difference.subject]))
            elif _is_content(difference, after):
                then = () if difference.change == "added" else _origins(old, moved, difference.subject)
                change = self._input(difference, then, old, new, depth)
                changes.append(replace(change, versions=_versions(old, new, moved, difference.subject)))
            else:
                changes.append(Change(difference))
        return tuple(changes), equal_parts(before, after)

    def _code(
        self, found: tuple[Difference, ...], *sides: tuple[PastRun, Recipe]
    ) -> dict[str, CodeDifference]:
        """How each file of the code that differs has changed."""
        counted = {name for _, recipe in sides for name in recipe.code.get("files", {})}
        names = [item.subject for item in found if item.part == "code" and item.subject in counted]
        if not names:
            return {}
        snapshots = [
            _Snapshot(run, recipe, self._history.code(run, names, largest=LARGEST_FILE + 1))
            for run, recipe in sides
        ]
        return {name: self._diff(name, *snapshots) for name in names}

    def _diff(self, name: str, old: _Snapshot, new: _Snapshot) -> CodeDifference:
        if unknown := old.why_unknown(name) or new.why_unknown(name):
            return CodeDifference("", unknown)
        if self._diffs_left == 0:
            return CodeDifference("", f"it is one of more than {MOST_DIFFS} files that changed")
        self._diffs_left -= 1
        return code_difference(name, old.files.get(name), new.files.get(name))

    def _input(
        self, difference: Difference, then: tuple[InputOrigin, ...], old: PastRun, new: PastRun, depth: int
    ) -> Change:
        """An input that holds something else than before, when it consisted of *then*, and why."""
        name = difference.subject
        if new.record is None:
            return Change(difference, note=f"what it consisted of in {new} is not recorded any more")
        if name in new.record.datasets:
            return _dataset(difference, old, new.record.datasets[name])
        now = new.record.inputs.get(name, ())
        changed = _changed(then, now)
        notes = []
        if then and len(then) != len(now):
            notes.append(f"the number of its outputs is {len(now)}, and was {len(then)}")
        elif now and not changed:
            notes.append("its outputs are the same in another order")
        if len(changed) > MOST_CAUSES:
            notes.append(f"{len(changed) - MOST_CAUSES} more of its outputs changed")
        is_new = bool(then) or difference.change == "added"
        causes = tuple(self._cause(*pair, depth, is_new=is_new) for pair in changed[:MOST_CAUSES])
        return Change(difference, causes=causes, note="; ".join(notes) or None)

    def _cause(self, old: InputOrigin | None, new: InputOrigin, depth: int, *, is_new: bool) -> Cause:
        """What became of *old*; None when *new* was not there before, or nobody knows (*is_new*)."""
        before = None if old is None else old.producer
        changes, note = self._why(old, new, depth, is_new=is_new)
        return Cause(new.output, new.producer, before, changes, note)

    def _why(
        self, old: InputOrigin | None, new: InputOrigin, depth: int, *, is_new: bool
    ) -> tuple[tuple[Change, ...], str | None]:
        """How the step that made *new* differs from the one that made *old*, or a note in place of that."""
        if not all(self._may_see(origin.producer.dag_id) for origin in (old, new) if origin is not None):
            return (), "another DAG made it, whose explanation says why"
        made_by = self._history.run(new.producer, new.fingerprint)
        if old is None:
            before = "it was not there before" if is_new else "what was there before is not known"
            return (), f"{before}; {_recorded(made_by)}"
        if old.fingerprint == new.fingerprint:
            return (), f"the same recipe did not make the same bytes again; {_recorded(made_by)}"
        pair = (old.fingerprint, new.fingerprint)
        if pair in self._told:
            return (), TOLD
        if depth == DEEPEST:
            return (), f"what is more than {DEEPEST} steps back is not followed"
        self._told.add(pair)
        try:
            return self.of(self._history.run(old.producer, old.fingerprint), made_by, depth + 1)[0], None
        except NotFoundError as error:
            return (), str(error)


class _Snapshot:
    """The files of one side's code that are compared. ``files`` lacks what its snapshot does not hold."""

    def __init__(self, run: PastRun, recipe: Recipe, files: Mapping[str, bytes] | None) -> None:
        self._run = run
        self._counted = recipe.code.get("files", {})
        self._is_there = files is not None
        self.files = files or {}

    def why_unknown(self, name: str) -> str | None:
        """Why nobody can tell what the file held, or whether there was one; None when it is known."""
        if not self._is_there:
            return f"the code of {self._run} is not in the datastore any more"
        if name in self._counted and name not in self.files:
            return f"it counted for {self._run}, and was not kept with its code"
        return None


def _is_content(difference: Difference, after: Recipe) -> bool:
    """Whether it is the content of an input that differs, or is new, rather than how the input is read."""
    is_there = difference.change != "removed" and difference.subject in after.inputs
    return difference.part == "inputs" and is_there


def _origins(run: PastRun, moved: Mapping[str, str], name: str) -> tuple[InputOrigin, ...]:
    """What the input consisted of in *run*, in which it may have had another name."""
    return () if run.record is None else run.record.inputs.get(moved.get(name, name), ())


def _versions(old: PastRun, new: PastRun, moved: Mapping[str, str], name: str) -> str | None:
    """Which version of what is registered the input was, and is; None when it is not registered."""
    now = None if new.record is None else new.record.pins.get(name)
    if now is None:
        return None
    then = None if old.record is None else old.record.pins.get(moved.get(name, name))
    if then is None or (then.kind, then.name) != (now.kind, now.name):
        return str(now)
    if then.version == now.version:
        return f"{now}, which has changed since it was registered"
    return f"{now.name} version {then.version} -> {now.version}"


def _changed(
    then: tuple[InputOrigin, ...], now: tuple[InputOrigin, ...]
) -> list[tuple[InputOrigin | None, InputOrigin]]:
    """The outputs that an input consists of and did not before, each with that whose place it took, if any.

    Which place one has does not matter: another in front of them changes none.
    """
    kept = Counter(origin.digest for origin in then) & Counter(origin.digest for origin in now)
    new, gone = _others(now, kept), _others(then, kept)
    by_index = {(origin.producer.task_id, origin.producer.map_index): origin for origin in gone}
    pairs = [(by_index.pop((item.producer.task_id, item.producer.map_index), None), item) for item in new]
    left = iter(by_index.values())
    return [(was or next(left, None), item) for was, item in pairs]


def _others(origins: tuple[InputOrigin, ...], kept: Mapping[str, int]) -> list[InputOrigin]:
    """*origins* without as many of each content as are *kept*."""
    left, others = dict(kept), []
    for origin in origins:
        if left.get(origin.digest, 0):
            left[origin.digest] -= 1
        else:
            others.append(origin)
    return others


def _dataset(difference: Difference, old: PastRun, now: Mapping[str, str]) -> Change:
    """A dataset that holds something else than before; its paths that do, as far as that is known."""
    then = None if old.record is None else old.record.datasets.get(difference.subject)
    if then is None:
        return Change(difference, dataset=tuple(now), note="what it consisted of before is not known")
    changed = tuple(path for path in {**then, **now} if then.get(path) != now.get(path))
    return Change(difference, dataset=changed or tuple(now))


def _recorded(run: PastRun) -> str:
    if run.record is None:
        return f"why {run} made it is not recorded any more"
    return f"{run} {run.record.sentence()}"
