"""What a placement promises: an attempt finds its code and inputs, and what it leaves can be described."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Protocol

from airflow_mlpipe.pipeline.stager import StagedInput
from airflow_mlpipe.records import EarlierRuns
from airflow_mlpipe.targets.contract import Mount


@dataclass(frozen=True)
class Layout:
    """Where the step's process finds its attempt: absolute paths on the machine where it runs."""

    directory: PurePosixPath
    code: PurePosixPath
    inputs: PurePosixPath

    @property
    def outputs(self) -> PurePosixPath:
        return self.directory / "outputs"

    def output(self, name: str) -> PurePosixPath:
        """Where the script writes an output."""
        return self.outputs / name


class Placement(Protocol):
    """One attempt on one kind of machine."""

    @property
    def layout(self) -> Layout:
        """Where everything is, as the step sees it."""

    def stage(self, archive: bytes, snapshot: str) -> Mapping[str, StagedInput]:
        """See that the code, the archive with the digest *snapshot*, and all inputs will be there.

        Returns the inputs as the step finds them. Raises UserError or StoreError for an input that cannot be
        had, InfrastructureError for one that turns out to be damaged.
        """

    def tell_earlier_runs(self, runs: EarlierRuns) -> None:
        """Write down what the script will ask of ``run.parent.get_children()``."""

    @property
    def carriage(self) -> str | None:
        """``LaunchSpec.carriage`` of an attempt that was staged."""

    def mounts(self) -> tuple[Mount, ...]:
        """What a container has to share with this machine."""

    def urls(self) -> tuple[str, ...]:
        """What the attempt's first process opens by itself, and needs credentials for."""

    def clear(self) -> None:
        """Take away what was put on this machine for the attempt, besides its records and outputs."""
