"""Registering datasets and models: what steps made, and what tasks and people name."""

from __future__ import annotations

import dataclasses
import logging
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from airflow_mlpipe.access import access_to
from airflow_mlpipe.errors import DefinitionError, UserError
from airflow_mlpipe.model.data import StepOutput
from airflow_mlpipe.model.dataset import SourceDataset
from airflow_mlpipe.model.inputs import TabularFormat
from airflow_mlpipe.model.reference import PipelineDataReference
from airflow_mlpipe.model.registered import checked_registered_name
from airflow_mlpipe.pipeline.actor import task_or_person
from airflow_mlpipe.pipeline.connections.services import lies_in
from airflow_mlpipe.pipeline.datastores import know_datastores
from airflow_mlpipe.pipeline.destinations import resolved
from airflow_mlpipe.pipeline.identity import TaskIdentity
from airflow_mlpipe.pipeline.outcome import Outcome
from airflow_mlpipe.pipeline.registrar import Labels, Registered, Registrar
from airflow_mlpipe.pipeline.settings import Settings
from airflow_mlpipe.pipeline.stores import Stores
from airflow_mlpipe.pipeline.worker import hash_cache
from airflow_mlpipe.reuse.phrases import listing
from airflow_mlpipe.store.fetching import fetch, local_path
from airflow_mlpipe.store.layout import ROOT, RegisteredKind
from airflow_mlpipe.store.manifest import (
    Manifest,
    ManifestMissing,
    ManifestOutput,
    ManifestUnusable,
    read_manifest,
)
from airflow_mlpipe.store.progress import Progress
from airflow_mlpipe.store.registry import Lineage
from airflow_mlpipe.store.sources import SourceFinder

log = logging.getLogger(__name__)


def register_all(
    outcome: Outcome,
    outputs: Iterable[StepOutput],
    identity: TaskIdentity,
    stores: Stores,
    settings: Settings,
) -> list[Registered]:
    """Register what the step declared of its *outputs*, and what its script asked for.

    It is done whether the step ran or was reused, any number of times: what the latest version holds already
    makes no new one. Returns the version that each came to be, outputs first. Nothing is registered of an
    outcome in doubt, nor an output that was not written; the log says so. Raises StoreError.
    """
    asked = [*_declared(outcome.manifest, outputs), *_asked_by_script(outcome.manifest)]
    if asked and outcome.doubt is not None:
        names = listing([one.labels.name for one in asked])
        log.warning("Not registered: %s, because %s", names, outcome.doubt)
        return []
    with hash_cache(settings) as cache:
        registrar = Registrar(stores, cache, str(identity.producer), settings.verify)
        done = [_register(one, outcome, registrar) for one in asked]
    for registered in done:
        log.info("%s", registered.sentence())
    return done


def register_dataset(
    dataset: SourceDataset, name: str, *, description: str = "", tags: Mapping[str, str] | None = None
) -> Registered:
    """Register data that no step made, as it is now; its relative paths start at the working directory.

    Raises UserError when nothing is there, when it cannot be told what identifies it, and for a datastore's
    own files; DefinitionError while a DAG is parsed and for a wrong name; StoreError.
    """
    checked_registered_name("dataset", name)
    _refuse_parsing("register()")
    dataset, who = _with_absolute_paths(dataset), f"dataset {name}"
    with _registrar() as registrar:
        for path in dataset.paths:
            _refuse_own_files(path, registrar.stores, who)
        finder = SourceFinder(Path.cwd(), registrar.cache, lambda what: Progress(what, log.info))
        found = finder.dataset(dataset.paths, dataset.identity, who, dataset.selection)
        if found.undetermined is not None:
            raise UserError(f"{who} cannot be registered: {found.undetermined}")
        done = registrar.declared(Labels(name, description, tags or {}), dataset, found)
    log.info("%s", done.sentence())
    return done


def register_model(
    name: str,
    model: str | Path | PipelineDataReference,
    *,
    description: str = "",
    tags: Mapping[str, str] | None = None,
    properties: Mapping[str, str] | None = None,
) -> Registered:
    """Copy a model into the datastore and register it; relative paths start at the working directory.

    Raises UserError when nothing is there, DefinitionError while a DAG is parsed and for a wrong name,
    StoreError.
    """
    labels = Labels(checked_registered_name("model", name), description, tags or {}, properties or {})
    _refuse_parsing("Model.register()")
    with _registrar() as registrar, _on_this_machine(model) as path:
        lineage = None
        if isinstance(model, PipelineDataReference):
            lineage = _lineage_of(model, registrar.stores)
        done = registrar.local_model(labels, path, lineage)
    log.info("%s", done.sentence())
    return done


@dataclass(frozen=True)
class _Asked:
    """One thing that a step is to register: ``data`` of its attempt, which is or lies in ``output``."""

    kind: RegisteredKind
    labels: Labels
    data: ManifestOutput
    output: str | None
    table: TabularFormat | None = None


def _declared(manifest: Manifest, outputs: Iterable[StepOutput]) -> Iterator[_Asked]:
    for output in outputs:
        wanted, made = output.registration, manifest.outputs.get(output.name)
        if wanted is None:
            continue
        if made is None:
            log.warning("Not registered: %s, because output %s was not written", wanted.name, output.name)
            continue
        labels = Labels(wanted.name, wanted.description, wanted.tags)
        yield _Asked("dataset", labels, made, output.name, output.table)


def _asked_by_script(manifest: Manifest) -> Iterator[_Asked]:
    for item in manifest.registrations:
        labels = Labels(item.name, item.description, item.tags, item.properties)
        yield _Asked(item.kind, labels, item.data, item.output)


def _register(asked: _Asked, outcome: Outcome, registrar: Registrar) -> Registered:
    lineage, holder = _lineage(outcome.manifest), outcome.datastore
    if asked.kind == "model":
        done = registrar.model(asked.labels, asked.data, holder, lineage)
    else:
        table = None if asked.table is None else asked.table.model_dump(mode="json")
        done = registrar.output(asked.labels, asked.data, holder, lineage, table)
    return dataclasses.replace(done, output=asked.output)


def _lineage(manifest: Manifest) -> Lineage:
    return Lineage(
        fingerprint=manifest.fingerprint, producer=manifest.producer.instance, inputs=manifest.pins
    )


def _lineage_of(reference: PipelineDataReference, stores: Stores) -> Lineage:
    """The same of what *reference* refers to; without its inputs when its manifest is gone."""
    holder = stores.holding(reference.uri)
    try:
        if holder is not None and reference.sealed:
            return _lineage(read_manifest(holder, reference.fingerprint, stores.keyring))
    except (ManifestMissing, ManifestUnusable) as error:
        log.info("What %s was made from is not known: %s", reference.name, error)
    return Lineage(fingerprint=reference.fingerprint, producer=reference.producer)


@contextmanager
def _registrar() -> Iterator[Registrar]:
    know_datastores()
    settings = Settings.read()
    with hash_cache(settings) as cache:
        yield Registrar(Stores.open(settings), cache, task_or_person(), settings.verify)


@contextmanager
def _on_this_machine(model: str | Path | PipelineDataReference) -> Iterator[Path]:
    """Where the model lies on this machine's disks, if need be a copy of it for the block."""
    uri = model.uri if isinstance(model, PipelineDataReference) else str(model)
    local = local_path(uri) if "://" in uri else Path.cwd() / Path(uri).expanduser()
    if local is not None:
        yield local
        return
    with tempfile.TemporaryDirectory(prefix="mlpipe-model-") as folder:
        copy = Path(folder) / uri.rstrip("/").rpartition("/")[2]
        fetch(uri, copy, Progress(f"fetching {uri}", log.info))
        yield copy


def _with_absolute_paths(dataset: SourceDataset) -> SourceDataset:
    absolute = (
        path if "://" in path else str(Path.cwd() / Path(path).expanduser()) for path in dataset.paths
    )
    return dataset.model_copy(update={"paths": tuple(absolute)})


def _refuse_own_files(path: str, stores: Stores, who: str) -> None:
    """Raise UserError for files that a datastore keeps for itself, and may collect as garbage."""
    url = resolved(access_to(path).url if "://" in path else path)
    if store := next((store for store in stores if lies_in(url, resolved(store.uri(ROOT)))), None):
        raise UserError(
            f"{who}: {path} lies among the own files of {store.url}, which come and go; let its step "
            "register it, by register_on_complete() on the output"
        )


def _refuse_parsing(what: str) -> None:
    """Raise DefinitionError while a DAG is written: what is said there is said again at each parse."""
    from airflow.sdk.definitions._internal.contextmanager import DagContext

    if DagContext.get_current() is not None:
        raise DefinitionError(
            f"{what} reads data and so is not for the definition of a DAG, which is parsed again and again; "
            "call it in a @task or a script, or say register_on_complete() on an output"
        )
