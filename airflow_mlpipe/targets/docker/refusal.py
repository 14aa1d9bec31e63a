"""What to do when an engine refuses a container: its own words only say what is wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from airflow_mlpipe.errors import TargetError
from airflow_mlpipe.model.docker_target import DockerTarget


@contextmanager
def advising(target: DockerTarget, image: str) -> Iterator[None]:
    """Say what to do about a TargetError of the engine, which was asked for a container of *image*."""
    try:
        yield
    except TargetError as error:
        raise TargetError(f"{error}; {_advice(str(error), target, image)}") from error


def _advice(words: str, target: DockerTarget, image: str) -> str:
    who = f"compute target {target.name!r}"
    if "bind source path" in words:
        return (
            "when that is a folder of this worker, the engine does not share its disk: set shares_disk=False "
            f"for {who}"
        )
    if "could not select device driver" in words:
        return (
            "the engine has no driver for GPUs: install the NVIDIA Container Toolkit on its machine and "
            f"restart it, or leave gpus of {who} out"
        )
    if target.network is not None and re.search(r"network .*not found", words):
        return f"make it there with 'docker network create {target.network}', or correct network of {who}"
    if 'exec: "' in words:
        return (
            f"the image {image} cannot start {target.python!r}: use one with Python 3.10 or newer, and name "
            f"its interpreter as python of {who}"
        )
    return f"correct {who}, or set up its engine so that it can"
