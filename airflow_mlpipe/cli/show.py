"""``airflow mlpipe show``: the manifest of a step's outputs, for people or as it is stored."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

from airflow_mlpipe.cli.artifacts import artifact_in
from airflow_mlpipe.cli.command import command
from airflow_mlpipe.cli.output import print_document
from airflow_mlpipe.cli.selection import Selected, select
from airflow_mlpipe.errors import NotFoundError
from airflow_mlpipe.pipeline.costs import Expense
from airflow_mlpipe.pipeline.settings import Settings
from airflow_mlpipe.pipeline.stores import Stores
from airflow_mlpipe.reuse.explain import parameters_in_words
from airflow_mlpipe.reuse.phrases import amount, short
from airflow_mlpipe.store.layout import kept_files_key
from airflow_mlpipe.store.manifest import Manifest, ManifestCompute, ManifestOutput
from airflow_mlpipe.store.progress import readable_size
from airflow_mlpipe.store.run_record import RunRecord
from airflow_mlpipe.store.signature import Keyring


@command
def run(args: Namespace) -> None:
    """Show the manifest, or for a run that sealed nothing its record."""
    stores = Stores.open(Settings.read())
    selected = select(stores, args.step)
    try:
        manifest = selected.manifest()
    except NotFoundError:
        if selected.record is None:
            raise
        document = selected.record.model_dump(mode="json")
        print_document(document, args.output, "\n".join(_record_lines(selected.record)))
        return
    lines = _manifest_lines(selected, manifest, stores.keyring)
    print_document(manifest.model_dump(mode="json"), args.output, "\n".join(lines))


def _record_lines(record: RunRecord) -> Iterator[str]:
    yield f"{record.step}: {record.status}, no sealed outputs"
    yield f"  why          {record.why}"
    yield f"  decided      {_moment(record.decided_at)}"
    yield f"  fingerprint  {record.fingerprint}"
    if record.lost_seconds is not None:
        yield f"  lost         {Expense(record.lost_seconds, record.lost_cost)} to infrastructure"


def _manifest_lines(selected: Selected, manifest: Manifest, keyring: Keyring) -> Iterator[str]:
    made_by = manifest.producer
    yield made_by.step
    if selected.record is not None and selected.record.attempt != made_by.attempt:
        yield f"  (in place of what {selected.record.step} handed on)"
    yield f"  fingerprint  {manifest.fingerprint}"
    yield f"  sealed       {_moment(manifest.sealed_at)}, by version {manifest.provider_version}"
    yield f"  ran          {Expense.of(manifest)} on {made_by.host}, try {made_by.try_number}"
    if manifest.compute is not None:
        yield f"  target       {_compute_words(manifest.compute)}"
    yield f"  experiment   {made_by.experiment}"
    yield f"  attempt      {made_by.attempt}"
    yield f"  datastore    {selected.datastore.url}"
    yield f"  snapshot     {manifest.snapshot or 'none'}"
    yield f"  signature    {_signature_words(manifest, keyring)}"
    yield "outputs"
    for output in manifest.outputs.values():
        yield f"  {output.name}: {_output_words(selected, manifest, output)}"
    if manifest.returned is not None and manifest.returned.values:
        yield "returned"
        yield from (f"  {name}: {short(value)}" for name, value in manifest.returned.values.items())
    yield "metrics" if manifest.results else "metrics: none"
    for name, value in manifest.results.items():
        yield f"  {name}: {short(value)}"
    if kept := _kept_files(selected, manifest):
        yield f"kept files: {short(', '.join(kept))}"
    yield "recipe"
    for part, value in manifest.recipe.items():
        if value and part != "schema_version":
            yield f"  {part}: {_part_words(part, value)}"


def _kept_files(selected: Selected, manifest: Manifest) -> list[str]:
    """The names of what the run kept besides its outputs."""
    folder = kept_files_key(manifest.producer.attempt)
    return [file.key.removeprefix(f"{folder}/") for file in selected.datastore.files(folder)]


def _signature_words(manifest: Manifest, keyring: Keyring) -> str:
    if (doubt := manifest.doubt(keyring)) is not None:
        return f"none that counts: {doubt}"
    if manifest.signature is None:
        return "none"
    checked = "" if keyring.key_ids else ", not checked: [mlpipe] signing_key is empty"
    return f"by key {manifest.signature.key_id}{checked}"


def _compute_words(compute: ManifestCompute) -> str:
    price = compute.cost_per_hour
    return f"{compute.target}, {compute.type}" + ("" if price is None else f", {amount(price)} an hour")


def _output_words(selected: Selected, manifest: Manifest, output: ManifestOutput) -> str:
    artifact = artifact_in(selected.datastore, manifest, output)
    kind = output.kind if artifact is None else f"returned, {artifact.type} as {artifact.format}"
    return f"{kind}, {readable_size(output.size)}, sha256 {output.digest}"


def _part_words(part: str, value: Any) -> str:
    if part == "code" and isinstance(value, dict):
        files = value.get("files", {})
        return f"{len(files)} files count ({value.get('scope')}): {short(', '.join(files))}"
    if part == "parameters" and isinstance(value, dict):
        return ", ".join(parameters_in_words(value))
    if isinstance(value, dict):
        return ", ".join(f"{key} {short(item)}" for key, item in value.items())
    return short(value)


def _moment(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, ValueError):  # a document may hold any number
        return f"{seconds:g} s after 1970"
