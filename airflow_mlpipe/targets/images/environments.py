"""What a step's process finds installed in a container: as a part of the recipe, and for real."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from airflow_mlpipe.errors import TargetError
from airflow_mlpipe.model.compute import ContainerTarget
from airflow_mlpipe.model.dockerfile import base_images
from airflow_mlpipe.model.environment import Environment
from airflow_mlpipe.targets.environments import Needs, StepEnvironment
from airflow_mlpipe.targets.images.building import EnvironmentImages
from airflow_mlpipe.targets.images.definition import ImageDefinition, distributions
from airflow_mlpipe.targets.images.identity import ImageIdentities, ImageIdentity, UnknownImage
from airflow_mlpipe.targets.images.locks import ImageLocks
from airflow_mlpipe.targets.python_path import PythonPath


class ImageEnvironments:
    """Plans and provides the images that steps on *target* run in.

    An image counts by the digest of its content, whatever it is called and whatever kind of target runs it.
    One that is built counts by what it is built from, so that nothing must be built to look for outputs.
    """

    def __init__(
        self,
        target: ContainerTarget,
        identities: ImageIdentities,
        locks: ImageLocks,
        images: EnvironmentImages,
    ) -> None:
        self._target = target
        self._identities = identities
        self._locks = locks
        self._images = images

    def plan(
        self, environment: Environment, needs: Needs, path: PythonPath, program: str | None = None
    ) -> StepEnvironment:
        """See :class:`~airflow_mlpipe.targets.environments.Environments`.

        The image holds all that the code and a command need, so that only the image counts. An image of which
        nobody can tell what it is makes the environment undetermined.
        """
        python = self._target.python
        document: dict[str, Any] = {"interpreter": python}
        names = [self._image_of(environment)]
        if environment.dockerfile is not None:
            names = base_images(environment.dockerfile)
            document["dockerfile"] = hashlib.sha256(environment.dockerfile.encode()).hexdigest()
        try:
            bases = {name: self._identities.of(name) for name in names}
        except UnknownImage as error:
            return self._unknown(environment, document, names, str(error))
        if environment.dockerfile is None:
            ((_, base),) = bases.items()
            document["image"] = base.digest
        else:
            document["images"] = {name: identity.digest for name, identity in bases.items()}
        if environment.conda_packages:
            document["conda_packages"] = sorted(environment.conda_packages)
            document["conda_channels"] = list(environment.conda_channels)
        lock = self._lock(environment, bases)
        if environment.pip_packages:
            document["packages"] = sorted(environment.pip_packages)
            document["distributions"] = distributions(lock or "")
        definition = ImageDefinition.of(environment, bases, python, lock)
        if environment.dockerfile is None and not definition.installs:
            return StepEnvironment(document, python, lock, (), base.reference)
        return StepEnvironment(document, python, lock, (), self._images.name(definition).text, definition)

    def modules(self, environment: Environment, path: PythonPath) -> frozenset[str]:
        """See :class:`~airflow_mlpipe.targets.environments.Environments`; nobody looks into the image."""
        return frozenset()

    def interpreter(self, planned: StepEnvironment) -> Path:
        """See :class:`~airflow_mlpipe.targets.environments.Environments`; it is the image's own."""
        return Path(planned.python)

    def image(self, planned: StepEnvironment) -> str:
        """See :class:`~airflow_mlpipe.targets.environments.Environments`."""
        if planned.build is not None:
            return self._images.provide(planned.build)
        if planned.image is None:
            raise TargetError(f"compute target {self._target.name!r} needs an image, and none was planned")
        return planned.image

    def _image_of(self, environment: Environment) -> str:
        image = environment.image or self._target.image
        if image is None and environment.dockerfile is None:
            raise TargetError(
                f"neither the environment nor compute target {self._target.name!r} names an image; set one"
            )
        return image or ""

    def _unknown(
        self, environment: Environment, document: dict[str, Any], names: list[str], why: str
    ) -> StepEnvironment:
        """The environment with an image that may be any; it can be started, but not be built upon."""
        if environment.needs_building:
            raise TargetError(f"the image of the environment cannot be built: {why}")
        (name,) = names
        return StepEnvironment({**document, "image": name}, self._target.python, None, (why,), name)

    def _lock(self, environment: Environment, bases: dict[str, ImageIdentity]) -> str | None:
        """The resolved packages; None when there are none, or what they go on is yet to be made."""
        if not environment.pip_packages or environment.conda_packages or environment.dockerfile is not None:
            return None
        (base,) = bases.values()
        return self._locks.lock(environment.pip_packages, base, self._target.python)
