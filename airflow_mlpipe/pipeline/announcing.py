"""What Airflow's asset events say of the outputs of a step, and which of them there are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from airflow.sdk import Asset

from airflow_mlpipe.model.data import StepOutput
from airflow_mlpipe.model.reference import ProducerReference
from airflow_mlpipe.pipeline.assets import dataset_asset, is_of_dataset, output_asset
from airflow_mlpipe.pipeline.outcome import Outcome
from airflow_mlpipe.pipeline.publication import reference_of
from airflow_mlpipe.pipeline.registrar import Registered


def announce(
    task: Any,
    context: Any,
    outcome: Outcome,
    registered: Iterable[Registered],
    outputs: Iterable[StepOutput],
    instance: ProducerReference,
) -> None:
    """Leave *task* the outlets that have something new, and say in their events what it is.

    That is a new version for the asset of a registered dataset. Other assets have something new when the step
    ran, and, if it asks for that, when it was reused. To reuse what an earlier try of the same task
    *instance* made is to finish that try, which may have ended before Airflow heard of it.
    """
    ran = outcome.decision.action == "run"
    finishes = not ran and outcome.manifest.producer.instance == instance
    versions = {
        dataset_asset(item.name).name: _extra_of_version(item)
        for item in registered
        if item.kind == "dataset" and (item.is_new or finishes)
    }
    made = {
        asset.name: _extra_of_output(outcome, output.name)
        for output in outputs
        if (asset := output_asset(output, task.who)) is not None
    }
    is_news = ran or finishes or task.emit_assets_on_reuse
    kept = []
    for outlet in task.outlets:
        if not isinstance(outlet, Asset):
            kept += [outlet] if is_news else []
            continue
        if is_of_dataset(outlet):
            extra = versions.get(outlet.name)
        else:
            extra = made.get(outlet.name, _extra_of_all(outcome)) if is_news else None
        if extra is not None:
            kept.append(outlet)
            context["outlet_events"][outlet].extra.update(extra)
    task.outlets = kept


def _extra_of_version(registered: Registered) -> dict[str, Any]:
    return {
        "name": registered.name,
        "version": registered.version,
        "digest": registered.digest,
        "uri": registered.uri,
    }


def _extra_of_output(outcome: Outcome, name: str) -> dict[str, Any] | None:
    """None for an output that was not written."""
    if name not in outcome.manifest.outputs:
        return None
    reference = reference_of(outcome, name)
    return {
        "output": name,
        "digest": reference.digest,
        "uri": reference.uri,
        **_extra_of_step(outcome),
    }


def _extra_of_all(outcome: Outcome) -> dict[str, Any]:
    references = {name: reference_of(outcome, name) for name in outcome.manifest.outputs}
    outputs = {name: {"digest": found.digest, "uri": found.uri} for name, found in references.items()}
    return {"outputs": outputs, **_extra_of_step(outcome)}


def _extra_of_step(outcome: Outcome) -> dict[str, Any]:
    fingerprint = outcome.manifest.fingerprint
    return {"fingerprint": fingerprint, "version": fingerprint[:12]}
