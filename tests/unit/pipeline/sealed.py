"""Steps as look-ups and records see them, and outputs that were sealed for them in stores of a test."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from airflow_mlpipe.model.compute import LocalTarget
from airflow_mlpipe.pipeline.binding import Binding
from airflow_mlpipe.pipeline.identity import TaskIdentity
from airflow_mlpipe.pipeline.preparation import Preparation
from airflow_mlpipe.pipeline.settings import Settings
from airflow_mlpipe.reuse.recipe import Recipe
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.layout import output_key
from airflow_mlpipe.store.listing import describe_output
from airflow_mlpipe.store.manifest import Manifest, Producer
from airflow_mlpipe.store.sealing import seal
from airflow_mlpipe.store.signature import NO_KEYS, Keyring

IDENTITY = TaskIdentity("retrain", "run-2", "train", -1, 1, "0197")


@dataclass(frozen=True)
class Placed:
    """What of a StepDefinition is looked at."""

    target: LocalTarget = LocalTarget(cost_per_hour=1.5)  # noqa: RUF009 - it is frozen


@dataclass(frozen=True)
class PreparedStep:
    """What of a Preparation is looked at, without the code, the environment and the task behind it."""

    recipe: Recipe
    undetermined: tuple[str, ...] = ()
    binding: Binding = field(default_factory=Binding)
    definition: Placed = Placed()

    @property
    def fingerprint(self) -> str:
        return self.recipe.fingerprint()


def prepared(*arguments: str, undetermined: tuple[str, ...] = ()) -> Preparation:
    """A step that is called with *arguments*, by which its fingerprint differs from others."""
    recipe = Recipe(
        step={"kind": "python_script", "contract": 1, "entry": "train.py"}, arguments=[*arguments]
    )
    return cast("Preparation", PreparedStep(recipe, undetermined))


def settings(**values: Any) -> Settings:
    """What Airflow's configuration says, but for *values*."""
    return dataclasses.replace(Settings.read(), **values)


def manifest_of(
    datastore: Datastore,
    step: Preparation,
    *,
    attempt: str = "attempt-1",
    age: float = 0.0,
    text: str = "weights",
) -> Manifest:
    """A manifest of *step*, made *age* seconds ago, whose output ``model`` is in *datastore* with *text*."""
    path = datastore.local_path(output_key(attempt, "model"))
    assert path is not None
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    output = describe_output(datastore, attempt, "model", path)
    assert output is not None
    now = time.time() - age
    return Manifest(
        schema_version=1,
        fingerprint=step.fingerprint,
        recipe=step.recipe.as_document(),
        outputs={"model": output},
        results={},
        parent_metrics={},
        tags={},
        producer=Producer(
            dag_id="retrain",
            run_id="run-1",
            task_id="train",
            map_index=-1,
            try_number=1,
            attempt=attempt,
            experiment="retrain",
            host="worker",
        ),
        started_at=now - 60,
        finished_at=now,
        sealed_at=now,
        snapshot=None,
        provider_version="1.0.0",
    )


def sealed(datastore: Datastore, step: Preparation, *, keyring: Keyring = NO_KEYS, **fields: Any) -> Manifest:
    """A manifest as ``manifest_of`` makes it, sealed."""
    return seal(datastore, manifest_of(datastore, step, **fields), keyring=keyring)


def output_path(datastore: Datastore, manifest: Manifest) -> Path:
    """Where the output ``model`` lies."""
    path = datastore.local_path(manifest.outputs["model"].key)
    assert path is not None
    return path
