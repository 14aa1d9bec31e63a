"""What a step hands on by XCom: references, results, and the decision."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_mlpipe.model.reference import PipelineDataReference
from airflow_mlpipe.pipeline.costs import rounded
from airflow_mlpipe.pipeline.outcome import Outcome
from airflow_mlpipe.pipeline.xcom import is_usable_key
from airflow_mlpipe.reuse.phrases import listing
from airflow_mlpipe.store.digest import MISSING_DIGEST
from airflow_mlpipe.store.layout import output_key

log = logging.getLogger(__name__)

# XCom is a row in Airflow's database: metrics beyond this size stay in the manifest only.
LARGEST_METRICS = 32 * 1024
DECISION_KEY = "mlpipe_decision"
WHOLE = "return_value"
"""The name of what a function returned when that is not unrolled; also XCom's key of return values."""


@dataclass(frozen=True)
class HandedOn:
    """What a step hands on by XCom: its return value, and the values under *keys* of their own."""

    return_value: Any
    keys: dict[str, Any]


def handed_on(outcome: Outcome, outputs: Iterable[str]) -> HandedOn:
    """What a step with the declared *outputs* hands on.

    A script's return value are its references by output name, and its metrics under ``metrics``; each is
    under a key as well. A function's return value is what it returned, with references in place of artifacts,
    and when that is nothing the reference to its only output, or all of them by name; each output, each
    unrolled result whose key can be one of XCom, and the metrics if there are any, are under keys.
    """
    references = {name: reference_of(outcome, name) for name in outputs}
    metrics = {"metrics": _small(outcome.manifest.results)}
    returned = outcome.manifest.returned
    if returned is None:
        return HandedOn({**references, **metrics}, {**references, **metrics})
    if not outcome.manifest.results:
        metrics = {}  # each key is a request to Airflow, which a fan-out of hundreds feels
    results = {**returned.values, **{name: reference_of(outcome, name) for name in returned.artifacts}}
    if returned.unrolled:
        return HandedOn(results, {**references, **_with_usable_keys(results), **metrics})
    whole: Any = references or None
    if WHOLE in results:
        whole = results[WHOLE]
    elif len(references) == 1:
        (whole,) = references.values()
    return HandedOn(whole, {**references, **metrics})


def decision_document(outcome: Outcome) -> dict[str, Any]:
    """The decision as XCom ``mlpipe_decision`` carries it: plain JSON, for people, links and programs.

    ``action`` is ``reused`` or ``ran``; ``seconds`` and ``cost`` are what the step took when it ran,
    ``saved_seconds`` and ``saved_cost`` what its reuse spared; ``producer`` is the task instance that ran it.
    What it cost is None when its compute target had no price.
    """
    decision, manifest = outcome.decision, outcome.manifest
    return {
        "schema_version": 1,
        "action": "reused" if decision.action == "reuse" else "ran",
        "reason": decision.why,
        "kinds": [reason.kind for reason in decision.reasons],
        "fingerprint": manifest.fingerprint,
        "sealed": outcome.sealed,
        "seconds": rounded(manifest.seconds, 3),
        "cost": rounded(manifest.cost, 4),
        "saved_seconds": rounded(decision.saved_seconds, 3),
        "saved_cost": rounded(decision.saved_cost, 4),
        "producer": manifest.producer.instance.model_dump(mode="json"),
        "attempt": manifest.producer.attempt,
    }


def reference_of(outcome: Outcome, name: str) -> PipelineDataReference:
    """The reference to the output *name*; of kind ``missing`` when the script left it unwritten."""
    manifest, datastore = outcome.manifest, outcome.datastore
    producer = manifest.producer.instance
    output = manifest.outputs.get(name)
    if output is None:
        key = output_key(manifest.producer.attempt, name)
        return PipelineDataReference(
            name=name,
            uri=datastore.uri(key),
            digest=MISSING_DIGEST,
            kind="missing",
            size=0,
            fingerprint=manifest.fingerprint,
            producer=producer,
            sealed=False,
        )
    return PipelineDataReference(
        name=name,
        uri=datastore.uri(output.key),
        digest=output.digest,
        kind=output.kind,
        size=output.size,
        fingerprint=manifest.fingerprint,
        producer=producer,
        sealed=outcome.sealed,
    )


def _with_usable_keys(results: Mapping[str, Any]) -> dict[str, Any]:
    """Those of *results* that can be looked up by their keys."""
    usable = {key: value for key, value in results.items() if is_usable_key(key)}
    if odd := [repr(key) for key in results if key not in usable]:
        log.warning(
            "Airflow cannot hand on %s of what was returned by itself, because the key is no part of a URL: "
            "take the whole dict, or use letters, digits and '_'",
            listing(odd),
        )
    return usable


def _small(metrics: Mapping[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    size = 0
    for name, value in metrics.items():
        size += len(name) + len(json.dumps(value))
        if size > LARGEST_METRICS:
            log.warning("Metrics from %s on are too large for XCom; the manifest has them all", name)
            break
        kept[name] = value
    return kept
