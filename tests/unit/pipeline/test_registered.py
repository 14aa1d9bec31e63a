"""Registering into real stores, and what inputs that are registered come to be."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG

from airflow_mlpipe import (
    Dataset,
    Model,
    OutputFileDatasetConfig,
    PipelineData,
    PipelineDataReference,
    access,
)
from airflow_mlpipe.errors import DefinitionError, NotFoundError, UserError
from airflow_mlpipe.model.data import StepOutput
from airflow_mlpipe.model.inputs import DataInput
from airflow_mlpipe.pipeline.binding import Binding, BoundInput
from airflow_mlpipe.pipeline.intake import Intake
from airflow_mlpipe.pipeline.outcome import Outcome
from airflow_mlpipe.pipeline.registered import RegisteredInput, RegisteredInputs, find
from airflow_mlpipe.pipeline.registering import register_all
from airflow_mlpipe.pipeline.registrar import Registered
from airflow_mlpipe.pipeline.stores import Stores
from airflow_mlpipe.pipeline.traces import Traces
from airflow_mlpipe.records import Pin
from airflow_mlpipe.reuse.decision import Decision
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.garbage.collector import Collector
from airflow_mlpipe.store.garbage.limits import Limits
from airflow_mlpipe.store.garbage.survey import Survey
from airflow_mlpipe.store.hash_cache import HashCache
from airflow_mlpipe.store.invalidation import Invalidations
from airflow_mlpipe.store.layout import MODEL_FILES, registered_key
from airflow_mlpipe.store.manifest import Manifest, ManifestPin, ManifestRegistration
from airflow_mlpipe.store.progress import Progress
from airflow_mlpipe.store.registry import DatasetVersion, ModelVersion, Registry
from airflow_mlpipe.store.sources import Source, SourceFinder
from tests.services import ObjectStore
from tests.unit.pipeline.sealed import IDENTITY, output_path, prepared, sealed, settings

RAW = PipelineData("model").register_on_complete("raw", "rows", {"kind": "daily"})
DONE = Decision("run", ())


@dataclasses.dataclass
class Deployment:
    """A store with what a step made in it, and what is registered of that."""

    own: Datastore
    others: tuple[Datastore, ...] = ()
    key: str = ""

    @property
    def stores(self) -> Stores:
        return Stores(self.own, self.others, self.key)

    @property
    def datasets(self) -> Registry[DatasetVersion]:
        return Registry(self.own, DatasetVersion)

    @property
    def models(self) -> Registry[ModelVersion]:
        return Registry(self.own, ModelVersion)

    def made(self, text: str, attempt: str = "attempt-1", **fields: Any) -> Manifest:
        """A sealed step whose output ``model`` has *text*; with another text it has another fingerprint."""
        manifest = sealed(self.own, prepared(text, attempt), text=text, attempt=attempt)
        return manifest.model_copy(update=fields)

    def register(
        self, manifest: Manifest, output: StepOutput = RAW, holder: Datastore | None = None, **fields: Any
    ) -> list[Registered]:
        outcome = Outcome(DONE, manifest, holder or self.own, sealed=True, **fields)
        return register_all(outcome, [output], IDENTITY, self.stores, settings())

    def asks_for_model(self, manifest: Manifest) -> Manifest:
        """The same, whose script has asked to register its output as the model ``digits``."""
        (data,) = manifest.outputs.values()
        item = ManifestRegistration(
            kind="model", name="digits", output="model", data=data, tags={"a": "1"}, properties={"p": "2"}
        )
        return manifest.model_copy(update={"registrations": (item,)})

    def bind(self, declared: DataInput, folder: Path = Path("/")) -> RegisteredInput:
        finder = SourceFinder(folder, HashCache(None))

        def look_at(source: Any) -> Source:
            if isinstance(source, PipelineDataReference):
                return finder.reference(source)
            return finder.dataset(source.paths, source.identity, "input raw", source.selection)

        return RegisteredInputs(self.stores).bind(declared, look_at)


@pytest.fixture
def here(tmp_path: Path) -> Deployment:
    return Deployment(Datastore.open(str(tmp_path / "store")))


@pytest.fixture
def deployed(here: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    """The same as this process's deployment, in whose working directory there is data."""
    monkeypatch.setenv("AIRFLOW__MLPIPE__DATASTORE", here.own.url)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.csv").write_text("a,b\n1,2\n")
    monkeypatch.chdir(tmp_path)
    return here


# -- outputs of steps ----------------------------------------------------------------------------------------


def test_an_output_is_registered_by_place_with_what_is_known_of_it(here: Deployment) -> None:
    pins = {"rows": ManifestPin(kind="dataset", name="rows", version=7)}
    manifest = here.made("one", pins=pins)
    (done,) = here.register(manifest)
    output = manifest.outputs["model"]
    uri = here.own.uri(output.key)
    assert done == Registered("dataset", "raw", 1, output.digest, uri, is_new=True, output="model")
    version = here.datasets.latest("raw")
    assert version is not None
    assert (version.output, version.store, version.registered_by) == (output, "", "retrain/run-2/train")
    assert version.lineage is not None
    assert (version.lineage.fingerprint, version.lineage.inputs) == (manifest.fingerprint, pins)


def test_the_same_bytes_made_again_elsewhere_make_no_version_while_the_old_ones_are_whole(
    here: Deployment,
) -> None:
    first = here.made("one")
    here.register(first)
    (again,) = here.register(here.made("one", "attempt-2"))
    assert (again.version, again.is_new) == (1, False)
    assert again.uri == here.own.uri(first.outputs["model"].key)  # what the version points at

    path = output_path(here.own, first)
    path.chmod(0o644)
    path.write_text("two")
    (mended,) = here.register(here.made("one", "attempt-2"))
    assert (mended.version, mended.is_new) == (2, True)


def test_what_was_registered_once_does_not_come_back_as_the_latest_by_being_reused(here: Deployment) -> None:
    old = here.asks_for_model(here.made("one"))
    here.register(old)
    here.register(here.asks_for_model(here.made("two", "attempt-2")))
    again = here.register(old)
    assert [(done.kind, done.version, done.is_new) for done in again] == [
        ("dataset", 1, False),
        ("model", 1, False),
    ]
    assert (here.datasets.versions("raw"), here.models.versions("digits")) == ([1, 2], [1, 2])
    made_again = here.asks_for_model(here.made("one", "attempt-3"))
    assert [(done.version, done.is_new) for done in here.register(made_again)] == [(3, True), (3, True)]


def test_the_same_output_read_in_another_way_is_another_version(here: Deployment) -> None:
    output = OutputFileDatasetConfig("model")
    manifest = here.made("a,b")
    for number, declared in enumerate((output, output.read_delimited_files()), start=1):
        (done,) = here.register(manifest, declared.register_on_complete("raw"))
        assert (done.version, done.is_new) == (number, True)


def test_outputs_of_another_store_are_found_there(here: Deployment, tmp_path: Path) -> None:
    theirs = Deployment(Datastore.open(str(tmp_path / "theirs")))
    manifest = theirs.made("one")
    here.others = (theirs.own,)
    here.register(manifest, holder=theirs.own)
    bound = here.bind(Dataset.get_by_name("raw").as_mount())
    assert bound.source.whole == theirs.own.uri(manifest.outputs["model"].key)
    assert theirs.datasets.versions("raw") == []


def test_nothing_is_registered_of_an_outcome_in_doubt_or_of_an_output_that_is_not_there(
    here: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    manifest = here.made("one")
    assert here.register(manifest, doubt="input raw was changed") == []
    assert "Not registered: raw, because input raw was changed" in caplog.text
    unwritten = manifest.model_copy(update={"outputs": {}})
    assert here.register(unwritten) == []
    assert "output model was not written" in caplog.text
    assert here.datasets.names() == {}


def test_a_table_is_read_as_it_was_registered_and_then_as_the_reader_says(here: Deployment) -> None:
    rows = OutputFileDatasetConfig("model").read_delimited_files(";").register_on_complete("rows")
    here.register(here.made("a;b\n"), rows)
    table = here.bind(Dataset.get_by_name("rows").keep_columns("a").as_named_input("rows")).table
    assert table is not None
    assert (table.options["separator"], table.operations) == (";", ({"keep_columns": ["a"]},))
    here.register(here.made("one"))
    with pytest.raises(UserError, match="raw version 1 was registered as files"):
        here.bind(Dataset.get_by_name("raw").keep_columns("a").as_named_input("raw"))
    parsed = here.bind(Dataset.get_by_name("raw").as_named_input("raw").parse_parquet_files()).table
    assert parsed is not None
    assert parsed.format == "parquet"


def test_an_output_that_is_to_be_registered_is_another_output_of_the_same_name() -> None:
    plain = OutputFileDatasetConfig("made", destination="out/{run-id}")
    registered = plain.register_on_complete("raw")
    assert registered != plain
    assert (registered.name, registered.destination) == ("made", "out/{run-id}")
    assert plain.registration is None
    with pytest.raises(DefinitionError, match="dataset name 'a b' is not valid"):
        plain.register_on_complete("a b")


# -- models --------------------------------------------------------------------------------------------------


def test_a_model_is_copied_and_read_only_and_outlives_what_it_was_made_of(here: Deployment) -> None:
    manifest = here.asks_for_model(here.made("weights"))
    (done,) = here.register(manifest, PipelineData("model"))
    output_path(here.own, manifest).unlink()
    version = here.models.latest("digits")
    assert version is not None
    assert (version.tags, version.properties) == ({"a": "1"}, {"p": "2"})
    path = here.own.local_path(version.files.key)
    assert path is not None
    assert (path.name, path.read_text(), path.stat().st_mode & 0o222) == ("model", "weights", 0)
    assert (done.kind, done.uri) == ("model", here.own.uri(version.files.key))
    bound = here.bind(Model("digits").as_mount())
    assert (bound.source.whole, bound.source.digest) == (done.uri, manifest.outputs["model"].digest)
    assert bound.pin == Pin("model", "digits", 1)


def test_an_equal_model_is_neither_registered_nor_copied_again_unless_it_was_damaged(
    here: Deployment,
) -> None:
    manifest = here.asks_for_model(here.made("weights"))
    here.register(manifest)
    (again,) = here.register(manifest, PipelineData("model"))
    assert (again.version, again.is_new) == (1, False)
    files = list(here.own.files(MODEL_FILES))
    assert len(files) == 1
    here.own.delete(files[0].key)
    (mended,) = here.register(manifest, PipelineData("model"))
    assert (mended.version, mended.is_new) == (2, True)


def test_a_model_that_was_altered_is_no_input(here: Deployment, tmp_path: Path) -> None:
    (done,) = here.register(here.asks_for_model(here.made("weights")), PipelineData("model"))
    found = here.bind(Model("digits").as_mount())
    binding = Binding(inputs={"digits": BoundInput("digits", "mount", found.source, pin=found.pin)})
    cache = HashCache(None)
    finder, traces = SourceFinder(tmp_path, cache), Traces(tmp_path / "inputs")
    intake = Intake(binding, finder, cache, here.stores, traces, "retrain/run-2/train")
    assert intake.differences() == []
    path = Path(done.uri.removeprefix("file://"))
    path.chmod(0o644)
    path.write_text("Weights")
    assert intake.differences() == ["input digits is not what was registered; register the model anew"]


def test_a_model_of_many_files_brings_their_listing(here: Deployment, deployed: Deployment) -> None:
    folder = Path("big")
    folder.mkdir()
    for number in range(300):
        (folder / f"{number}.bin").write_text(str(number))
    assert Model.register("big", folder).version == 1
    assert Model.register("big", folder).version == 1
    version = here.models.latest("big")
    assert version is not None
    assert version.files.listing is not None
    assert len(list(here.own.files(MODEL_FILES))) == 301
    assert here.bind(Model("big").as_mount()).source.digest == version.digest


def test_a_model_on_an_object_store_is_copied_there_and_known_file_by_file(
    s3: ObjectStore, here: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "_resolver", lambda url: access.Access(url, s3.options))
    manifest = here.asks_for_model(here.made("weights"))
    remote = Deployment(Datastore.open(s3.url, **s3.options), (here.own,))
    (done,) = remote.register(manifest, PipelineData("model"), holder=here.own)
    (place,) = remote.bind(Model("digits").as_mount()).source.places
    assert place.files is not None
    assert [(file.path, file.digest) for file in place.files] == [("", manifest.outputs["model"].digest)]
    (item,) = manifest.registrations
    version = remote.models.latest("digits")
    assert version is not None
    renamed = item.model_copy(update={"name": "renamed", "data": version.files})
    elsewhere = manifest.model_copy(update={"registrations": (renamed,)})
    (copied,) = remote.register(elsewhere, PipelineData("model"))  # from the object store to itself
    for number, uri in enumerate((done.uri, copied.uri)):
        remote.own.download(remote.own.key_of(uri), tmp_path / str(number))
        assert (tmp_path / str(number)).read_text() == "weights"


# -- which version -------------------------------------------------------------------------------------------


def test_the_first_store_that_knows_a_name_answers_for_all_of_its_versions(
    here: Deployment, tmp_path: Path
) -> None:
    theirs = Deployment(Datastore.open(str(tmp_path / "theirs")))
    for text in ("one", "two"):
        theirs.register(theirs.made(text, f"attempt-{text}"))
    here.others = (theirs.own,)
    assert find(here.stores, DatasetVersion, "raw", "latest").version.version == 2
    here.register(here.made("three"))
    assert find(here.stores, DatasetVersion, "raw", "latest").version.version == 1
    with pytest.raises(NotFoundError, match=r"raw has no version 2 in file://.*/store; it has 1"):
        find(here.stores, DatasetVersion, "raw", 2)
    with pytest.raises(NotFoundError, match=r"no model 'raw' is registered in file://.*/store or file://"):
        find(here.stores, ModelVersion, "raw", "latest")


def test_all_inputs_of_a_step_agree_on_what_is_the_latest(here: Deployment) -> None:
    here.register(here.made("one"))
    inputs = RegisteredInputs(here.stores)
    finder = SourceFinder(Path("/"), HashCache(None))
    first = inputs.bind(Dataset.get_by_name("raw").as_mount(), finder.reference)  # type: ignore[arg-type]
    here.register(here.made("two", "attempt-2"))
    second = inputs.bind(Dataset.get_by_name("raw").as_download(), finder.reference)  # type: ignore[arg-type]
    assert first.pin == second.pin == Pin("dataset", "raw", 1)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("raw", "raw"), ("my-data.v2", "my_data_v2"), ("2026", "_2026"), ("PATH", None), ("x" * 200, "x" * 64)],
)
def test_the_name_of_an_input_is_that_of_its_dataset_as_far_as_it_can_be(
    name: str, expected: str | None
) -> None:
    assert Dataset.get_by_name(name).default_input_name == expected


@pytest.mark.parametrize("version", [0, -1, True, "newest", "", None, 1.0])
def test_a_version_is_a_number_from_one_on_or_latest(version: Any) -> None:
    with pytest.raises(DefinitionError, match="give a number from 1 on, or 'latest'"):
        Dataset.get_by_name("raw", version)
    assert Model("digits", "3").version == 3


# -- data that no step made ----------------------------------------------------------------------------------


def test_data_is_registered_as_it_is_now_by_its_absolute_path(deployed: Deployment) -> None:
    assert Dataset.File.from_files("data").register("raw").version == 1
    assert Dataset.File.from_files("data").register("raw").version == 1
    Path("data/b.csv").write_text("3")
    assert Dataset.File.from_files("data").register("raw").version == 2
    assert Dataset.File.from_files(["data/a.csv"]).register("raw").version == 3
    version = deployed.datasets.latest("raw")
    assert version is not None
    assert version.declared == {"paths": [str(Path("data/a.csv").absolute())]}


def test_a_change_since_the_registration_is_remarked_unless_the_record_is_to_be_believed(
    deployed: Deployment,
) -> None:
    Dataset.Tabular.from_delimited_files("data/*.csv").register("rows")
    before = deployed.bind(Dataset.get_by_name("rows").as_unnamed_input())
    believed = deployed.bind(Dataset.get_by_name("rows", identity="version").as_unnamed_input())
    assert (before.remark, believed.dataset) == (None, None)
    Path("data/b.csv").write_text("a,b\n")
    after = deployed.bind(Dataset.get_by_name("rows").as_unnamed_input())
    assert after.remark == "rows version 1 has changed since it was registered"
    assert after.source.digest != before.source.digest
    again = deployed.bind(Dataset.get_by_name("rows", identity="version").as_unnamed_input())
    assert again.source.digest == believed.source.digest
    # Outputs made of unseen data must never stand for those of data that was looked at.
    assert believed.source.digest not in (before.source.digest, after.source.digest)


def test_a_datastores_own_files_are_no_data_to_register(deployed: Deployment) -> None:
    path = output_path(deployed.own, deployed.made("one"))
    Path("link").symlink_to(path.parent)
    for named in (path, f"file://{path}", f"link/{path.name}", f"{path.parent}/../{path.parent.name}"):
        with pytest.raises(UserError, match=r"lies among the own files of file://.*register_on_complete"):
            Dataset.File.from_files(str(named)).register("raw")


def test_registering_while_a_dag_is_written_is_a_mistake(deployed: Deployment) -> None:
    with DAG("retrain"), pytest.raises(DefinitionError, match="parsed again and again"):
        Dataset.File.from_files("data").register("raw")
    with DAG("retrain"), pytest.raises(DefinitionError, match="parsed again and again"):
        Model.register("digits", "data")


def test_what_is_not_there_cannot_be_registered(deployed: Deployment) -> None:
    with pytest.raises(UserError, match="nothing is at"):
        Dataset.File.from_files("nothing").register("raw")
    with pytest.raises(UserError, match="nothing is at"):
        Model.register("digits", "nothing")
    assert (deployed.datasets.names(), deployed.models.names()) == ({}, {})
    assert list(deployed.own.files(MODEL_FILES)) == []


# -- garbage -------------------------------------------------------------------------------------------------


def collect(datastore: Datastore, **limits: Any) -> set[str]:
    """Collect garbage as if everything were old; the kinds of what went."""
    root = datastore.local_path("mlpipe")
    assert root is not None
    for path in [root, *root.rglob("*")]:
        os.utime(path, (1_000.0, 1_000.0), follow_symlinks=False)
    survey = Survey(datastore, Limits(**limits), (), 0.0)
    return {item.kind for item in Collector(survey, Progress.silent()).collect().gone}


def test_what_a_registered_dataset_points_at_stays_sealed_or_not(here: Deployment) -> None:
    kept, gone = here.made("one"), here.made("two", "attempt-2")
    here.register(kept)
    age = {"sealed_at": 1_000.0}
    for manifest in (kept, gone):
        here.own.write(
            f"mlpipe/v1/steps/{manifest.fingerprint[:2]}/{manifest.fingerprint}/manifest.json",
            manifest.model_copy(update=age).to_bytes(),
        )
    assert "outputs" in collect(here.own, older_than=1.0)
    assert output_path(here.own, kept).exists()
    assert not output_path(here.own, gone).exists()
    Invalidations(here.own).invalidate(kept.fingerprint, "ann")
    collect(here.own, older_than=1.0)
    assert output_path(here.own, kept).exists()


def test_files_of_a_model_go_only_when_no_version_has_come_of_them(here: Deployment) -> None:
    manifest = here.asks_for_model(here.made("weights"))
    here.register(manifest, PipelineData("model"))
    assert "model" not in collect(here.own)
    here.own.delete(registered_key("model", "digits", 1))  # as if it had been killed before its record
    assert "model" in collect(here.own)
    assert list(here.own.files(MODEL_FILES)) == []


def test_files_of_a_model_that_is_registered_after_the_survey_stay(here: Deployment) -> None:
    here.register(here.asks_for_model(here.made("weights")), PipelineData("model"))
    key = registered_key("model", "digits", 1)
    record = here.own.read(key) or b""
    here.own.delete(key)
    root = here.own.local_path("mlpipe")
    assert root is not None
    for path in root.rglob("*"):
        os.utime(path, (1_000.0, 1_000.0))
    survey = Survey(here.own, Limits(), (), 0.0)
    here.own.write(key, record)
    collected = Collector(survey, Progress.silent()).collect()
    assert [item.kind for item in collected.spared] == ["model"]
    assert len(list(here.own.files(MODEL_FILES))) == 1
