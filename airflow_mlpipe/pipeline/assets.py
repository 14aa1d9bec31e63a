"""Assets of Airflow for what steps make: their outputs, and the datasets that they register."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from airflow.sdk import Asset

from airflow_mlpipe.errors import DefinitionError
from airflow_mlpipe.model.data import StepOutput

_DATASET = "mlpipe.dataset."


def dataset_asset(name: str) -> Asset:
    """The asset that has an event for every new version of the registered dataset *name*, for ``schedule=``.

    A step with an output that registers *name* has it among its outlets by itself. One whose script registers
    *name* needs it in its ``outlets``. The extra of the event has ``name``, ``version``, ``digest``, ``uri``.
    """
    return Asset(name=f"{_DATASET}{name}", uri=f"mlpipe://dataset/{name}")


def is_of_dataset(asset: Asset) -> bool:
    """Whether *asset* is one of :func:`dataset_asset`."""
    return asset.name.startswith(_DATASET)


def output_asset(output: StepOutput, who: str) -> Asset | None:
    """The asset that stands for *output* of the step *who*, None when none does.

    Raises DefinitionError for an output whose asset is none.
    """
    if output.asset is None or isinstance(output.asset, Asset):
        return output.asset
    if isinstance(output.asset, str) and output.asset.strip():
        return Asset(output.asset)
    raise DefinitionError(
        f"{who}: output {output.name!r} has as_asset({output.asset!r}); give an Asset, or the name of one"
    )


def outlets_of(outputs: Iterable[StepOutput], outlets: Iterable[Any], who: str) -> list[Any]:
    """The outlets of a step with *outputs*: the *outlets* it was given, and those that follow from *outputs*.

    Raises as :func:`output_asset`.
    """
    complete = list(outlets)
    for output in outputs:
        found = [output_asset(output, who)]
        if output.registration is not None:
            found.append(dataset_asset(output.registration.name))
        complete += [asset for asset in found if asset is not None and asset not in complete]
    return complete
