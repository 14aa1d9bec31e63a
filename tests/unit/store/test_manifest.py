from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from airflow_mlpipe.errors import MLPipeError, StoreError
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.digest import Content
from airflow_mlpipe.store.layout import manifest_key
from airflow_mlpipe.store.manifest import (
    ManifestCompute,
    ManifestListing,
    ManifestMissing,
    ManifestOutput,
    ManifestUnusable,
    read_manifest,
)
from airflow_mlpipe.store.signature import Keyring

FINGERPRINT = "ab" * 32
RELEASED = Path(__file__).parents[2] / "fixtures" / "manifest-v1.json"


def test_the_released_document_is_readable(local: Datastore) -> None:
    fingerprint = json.loads(RELEASED.read_bytes())["fingerprint"]
    local.write(manifest_key(fingerprint), RELEASED.read_bytes())
    manifest = read_manifest(local, fingerprint)
    assert manifest.outputs["prepared"].entries[1].path == "sub/run.sh"
    assert manifest.outputs["prepared"].entries[1].executable
    assert manifest.outputs["model"].kind == "file"
    assert manifest.outputs["model"].listing is None
    assert manifest.outputs["images"].listing == ManifestListing(
        key="mlpipe/v1/attempts/retrain.train.1/listings/images.jsonl",
        sha256="486ea46224d1bb4fb680f34f7c9ad96a8f24ec88be73ea8e5a6c65260e9cb8a7",
        files=1024,
    )
    assert manifest.results == {"accuracy": 0.97, "loss": [0.5, 0.25]}
    assert manifest.seconds == 60.0
    assert json.loads(manifest.to_bytes()) == json.loads(RELEASED.read_bytes())


def test_what_is_written_is_read(datastore: Datastore, make_manifest: Any) -> None:
    manifest = make_manifest(datastore, outputs={"a": b"1", "b": {"x/y": b"22"}})
    datastore.write(manifest_key(FINGERPRINT), manifest.to_bytes())
    assert read_manifest(datastore, FINGERPRINT) == manifest
    assert read_manifest(datastore, FINGERPRINT).to_bytes() == manifest.to_bytes()


def test_where_a_step_ran_is_written_and_signed_only_if_there_is_something_to_say(
    datastore: Datastore, make_manifest: Any
) -> None:
    plain = make_manifest(datastore)
    assert b"compute" not in plain.to_bytes()
    assert plain.cost is None
    compute = ManifestCompute(target="a100", type="kubernetes", cost_per_hour=3.6)
    priced = plain.model_copy(update={"compute": compute, "started_at": 100.0, "finished_at": 200.0})
    datastore.write(manifest_key(FINGERPRINT), priced.to_bytes())
    found = read_manifest(datastore, FINGERPRINT)
    assert found.compute == compute
    assert found.cost == pytest.approx(0.1)
    keyring = Keyring(["a key of thirty-two bytes or more"])
    cheaper = compute.model_copy(update={"cost_per_hour": 0.1})
    forged = priced.signed(keyring).model_copy(update={"compute": cheaper})
    assert forged.doubt(keyring) is not None


def test_results_that_are_not_numbers_keep_their_value(local: Datastore, make_manifest: Any) -> None:
    manifest = make_manifest(local, results={"loss": float("nan"), "best": float("-inf")})
    local.write(manifest_key(FINGERPRINT), manifest.to_bytes())
    results = read_manifest(local, FINGERPRINT).results
    assert math.isnan(results["loss"])
    assert results["best"] == float("-inf")


def test_results_that_are_not_json_are_refused(local: Datastore, make_manifest: Any) -> None:
    with pytest.raises(ValidationError):
        make_manifest(local, results={"when": object()})


def test_nothing_sealed_is_a_state_of_its_own(datastore: Datastore) -> None:
    with pytest.raises(ManifestMissing, match=FINGERPRINT) as raised:
        read_manifest(datastore, FINGERPRINT)
    assert isinstance(raised.value, MLPipeError)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            {"schema_version": 2, "new_field": 1},
            "schema_version is 2, and this version of airflow_mlpipe reads 1",
        ),
        ({"schema_version": "1"}, "schema_version is '1'"),
        ({"surprise": 1}, "surprise: Extra inputs are not permitted"),
        ({"started_at": "100"}, "started_at: Input should be a valid number"),
        ({"fingerprint": "cd" * 32}, f"it is that of {'cd' * 32}"),
        ({"outputs": []}, "outputs: Input should be an object"),
        ({"results": None}, "results: Input should be an object"),
    ],
)
def test_an_unusable_manifest_says_why(
    local: Datastore, make_manifest: Any, change: dict[str, Any], reason: str
) -> None:
    document = {**json.loads(make_manifest(local).to_bytes()), **change}
    local.write(manifest_key(FINGERPRINT), json.dumps(document).encode())
    with pytest.raises(ManifestUnusable, match=reason):
        read_manifest(local, FINGERPRINT)


@pytest.mark.parametrize("data", [b"", b"{", b"null", b"\xff", b'{"schema_version": 1}'])
def test_what_is_no_manifest_is_unusable(local: Datastore, data: bytes) -> None:
    local.write(manifest_key(FINGERPRINT), data)
    with pytest.raises(ManifestUnusable, match="cannot be used"):
        read_manifest(local, FINGERPRINT)


@pytest.mark.parametrize("path", ["../escape", "/etc/passwd", "a/../../b"])
def test_paths_that_lead_out_of_the_store_are_unusable(
    local: Datastore, make_manifest: Any, path: str
) -> None:
    text = make_manifest(local, outputs={"a": {"placeholder": b"1"}}).to_bytes().decode()
    local.write(manifest_key(FINGERPRINT), text.replace('"placeholder"', json.dumps(path)).encode())
    with pytest.raises(ManifestUnusable, match="rename it"):
        read_manifest(local, FINGERPRINT)


LISTING = {"key": "a/b", "sha256": "00" * 32, "files": 1}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda output: output["entries"].reverse(), "the entries are not sorted by path, or hold one twice"),
        (lambda output: output["entries"].append(output["entries"][-1]), "or hold one twice"),
        (lambda output: output.update(kind="file"), "a file has neither entries nor a listing"),
        (lambda output: output.update(kind="file", entries=[], listing=LISTING), "neither entries nor"),
        (lambda output: output.update(listing=LISTING), "in a listing as well as among the entries"),
        (lambda output: output.update(entries=[], listing={**LISTING, "key": "../a"}), "rename it"),
        (lambda output: output.update(entries=[], listing={**LISTING, "files": -1}), "listing.files"),
    ],
)
def test_files_that_cannot_be_so_are_unusable(
    local: Datastore, make_manifest: Any, change: Callable[[Any], None], reason: str
) -> None:
    document = json.loads(make_manifest(local, outputs={"data": {"a": b"1", "b": b"2"}}).to_bytes())
    change(document["outputs"]["data"])
    local.write(manifest_key(FINGERPRINT), json.dumps(document).encode())
    with pytest.raises(ManifestUnusable, match=reason):
        read_manifest(local, FINGERPRINT)


def test_an_output_that_was_not_written_cannot_be_described() -> None:
    with pytest.raises(StoreError, match="output 'model' was not written"):
        ManifestOutput.of("model", "a/model", Content("missing", "00" * 32, 0))
