"""What a machine prepares steps with: the stores, a memory of digests, the environments it offers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from airflow_mlpipe.errors import TargetError
from airflow_mlpipe.model.compute import ComputeTarget, ContainerTarget, LocalTarget
from airflow_mlpipe.model.entry import Command
from airflow_mlpipe.model.registered import RegisteredSource
from airflow_mlpipe.model.remote_target import RemoteTarget
from airflow_mlpipe.pipeline.datastores import know_datastores
from airflow_mlpipe.pipeline.definition import StepDefinition
from airflow_mlpipe.pipeline.registered import RegisteredInputs
from airflow_mlpipe.pipeline.settings import Settings
from airflow_mlpipe.pipeline.stores import Stores
from airflow_mlpipe.reuse.code_tree import BUNDLE
from airflow_mlpipe.reuse.phrases import listing
from airflow_mlpipe.reuse.source import Code, Surroundings, code_of
from airflow_mlpipe.reuse.source_files import SourceFiles
from airflow_mlpipe.store.download_cache import DownloadCache
from airflow_mlpipe.store.hash_cache import HashCache
from airflow_mlpipe.store.progress import Progress
from airflow_mlpipe.store.sources import SourceFinder
from airflow_mlpipe.targets.environments import Environments, LocalEnvironments, StepEnvironment

log = logging.getLogger(__name__)


@dataclass
class Worker:
    """Prepares one step, or all steps of a plan.

    What steps share is looked at once, so an instance is for one moment.
    ``resolves_packages`` is False for who may write nothing: then packages that nobody has resolved so far
    raise UnresolvedPackages. ``before_latest`` is told before the latest version of something is looked up.
    """

    settings: Settings
    stores: Stores
    cache: HashCache
    resolves_packages: bool = True
    before_latest: Callable[[RegisteredSource], object] = lambda source: None
    _codes: dict[object, Code] = field(default_factory=dict, init=False)
    _sources: dict[tuple[Path | None, Path], SourceFiles] = field(default_factory=dict, init=False)
    _surroundings: dict[object, Surroundings] = field(default_factory=dict, init=False)
    _planned: dict[object, StepEnvironment] = field(default_factory=dict, init=False)
    _offered: dict[str, Environments] = field(default_factory=dict, init=False)

    @classmethod
    @contextmanager
    def open(cls, settings: Settings, *, resolves_packages: bool = True) -> Iterator[Worker]:
        """A worker for the duration of the block; StoreError for a store that cannot be opened.

        Names of datastores are looked up anew.
        """
        know_datastores()
        stores = Stores.open(settings)
        with hash_cache(settings) as cache:
            yield cls(settings, stores, cache, resolves_packages)

    def finder(self, folder: Path) -> SourceFinder:
        """What finds data; relative paths start at *folder*."""
        return source_finder(folder, self.cache, self.settings)

    def registered(self) -> RegisteredInputs:
        """What looks up registered datasets and models for one step."""
        return RegisteredInputs(self.stores, self.before_latest)

    def surroundings(self, definition: StepDefinition) -> Surroundings:
        """What else than its source directory the step may import; raises as ``LocalEnvironments.plan``."""
        environment, path = definition.environment, definition.python_path
        what = _interpreter_of(definition)
        if what not in self._surroundings:
            self._surroundings[what] = Surroundings(
                path.inside,
                self._environments(definition).modules(environment, path),
                knows_all=isinstance(definition.target, LocalTarget) and not environment.is_isolated,
            )
        return self._surroundings[what]

    def code(self, definition: StepDefinition, around: Surroundings) -> Code:
        """The code that counts; raises as ``code_of_step``."""
        reuse = definition.reuse
        place = (definition.source_directory, definition.bundle)
        what = (place, definition.entry, reuse.code_scope, reuse.hash_paths, definition.texts, around)
        if what not in self._codes:
            if place not in self._sources:
                self._sources[place] = self._source_files(*place)
            code = code_of_step(definition, self._sources[place], around)
            if code.why_directory is not None:
                directory = definition.source_directory
                name = "what the function has" if directory is None else directory.name
                log.info("All of %s counts for reuse: %s", name, code.why_directory)
            if code.along:
                names = [name.removeprefix(BUNDLE) for name in code.along]
                log.info("Comes along from the DAG bundle, and counts for reuse: %s", listing(names))
            self._codes[what] = code
        return self._codes[what]

    def environment(self, definition: StepDefinition, code: Code) -> StepEnvironment:
        """What the step finds installed; raises as ``LocalEnvironments.plan``."""
        program = definition.entry.argv[0] if isinstance(definition.entry, Command) else None
        environment, path = definition.environment, definition.python_path
        needs = code.external, code.why_open is None, code.elsewhere, code.why_elsewhere
        what = (_interpreter_of(definition), program, needs)
        if what not in self._planned:
            environments = self._environments(definition)
            self._planned[what] = environments.plan(environment, code, path, program)
        return self._planned[what]

    def _source_files(self, directory: Path | None, bundle: Path) -> SourceFiles:
        return SourceFiles(
            directory,
            read=Path.read_bytes,
            file_digest=self.cache.file_digest,
            bundle=bundle,
            remember=self.cache,
        )

    def _environments(self, definition: StepDefinition) -> Environments:
        what = repr(definition.target)
        if what not in self._offered:
            self._offered[what] = environments_of(
                definition.target,
                self.settings,
                self.stores,
                self.cache,
                resolves_packages=self.resolves_packages,
            )
        return self._offered[what]


def hash_cache(settings: Settings) -> HashCache:
    """The worker's memory of file digests."""
    return HashCache(settings.cache_directory / "digests.sqlite", say=log.info)


def download_cache(settings: Settings) -> DownloadCache | None:
    """Where the worker keeps what it downloads; None when it is to keep nothing."""
    size = settings.download_cache_size
    return DownloadCache(settings.cache_directory / "downloads", size) if size else None


def source_finder(folder: Path, cache: HashCache, settings: Settings) -> SourceFinder:
    """What finds data; relative paths start at *folder*."""
    return SourceFinder(folder, cache, lambda what: Progress(what, log.info), download_cache(settings))


def environments_of(
    target: ComputeTarget,
    settings: Settings,
    stores: Stores,
    cache: HashCache,
    *,
    resolves_packages: bool = True,
) -> Environments:
    """What plans and provides the environments of steps on *target*."""
    if isinstance(target, ContainerTarget):
        from airflow_mlpipe.pipeline.compute.images import image_environments

        return image_environments(target, settings, stores, resolves_packages=resolves_packages)
    if isinstance(target, RemoteTarget):
        from airflow_mlpipe.pipeline.compute.remote import remote_environments

        return remote_environments(target)
    if not isinstance(target, LocalTarget):
        raise TargetError(
            f"compute target {target.name!r} is of a kind whose environments nothing here knows"
        )
    return LocalEnvironments(
        target,
        stores.own,
        settings.cache_directory,
        cache,
        log.info,
        others=stores.others,
        resolves_packages=resolves_packages,
    )


def code_of_step(definition: StepDefinition, sources: SourceFiles, around: Surroundings) -> Code:
    """The code that counts; raises as ``code_of``."""
    generated = definition.generated
    return code_of(
        sources.with_generated(generated) if generated else sources,
        definition.entry_file,
        scope=definition.reuse.code_scope,
        hash_paths=definition.reuse.hash_paths,
        arguments=definition.texts,
        around=around,
    )


def _interpreter_of(definition: StepDefinition) -> object:
    """Equal for steps whose interpreters find the same modules."""
    environment = definition.environment
    installed = (
        environment.image,
        environment.dockerfile,
        environment.conda_channels,
        environment.conda_packages,
        environment.pip_packages,
        environment.python_version,
    )
    return installed, repr(definition.target), definition.python_path
