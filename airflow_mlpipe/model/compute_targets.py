"""The file of compute targets."""

from __future__ import annotations

from airflow_mlpipe.errors import DefinitionError
from airflow_mlpipe.model.compute import ComputeTarget, LocalTarget
from airflow_mlpipe.model.docker_target import DockerTarget
from airflow_mlpipe.model.environment import named_sections
from airflow_mlpipe.model.kubernetes_target import KubernetesTarget
from airflow_mlpipe.model.remote_target import RemoteTarget

_KINDS: dict[str, type[ComputeTarget]] = {
    "local": LocalTarget,
    "docker": DockerTarget,
    "kubernetes": KubernetesTarget,
    "remote": RemoteTarget,
}


def parse_targets(text: str, origin: str) -> dict[str, ComputeTarget]:
    """The compute targets of a YAML document ``{name: {type: local, ...}}``; ``local`` is always there.

    Raises DefinitionError that names *origin*, the target and the mistake.
    """
    targets: dict[str, ComputeTarget] = {"local": LocalTarget()}
    for name, fields in named_sections(text, origin, "compute target"):
        kind = fields.pop("type", None)
        if not isinstance(kind, str) or kind not in _KINDS:
            known = ", ".join(sorted(_KINDS))
            raise DefinitionError(
                f"{origin}: compute target {name!r} has type {kind!r}; known types: {known}"
            )
        try:
            targets[name] = _KINDS[kind](name=name, **fields)
        except DefinitionError as error:
            raise DefinitionError(f"{origin}: compute target {name!r}: {error}") from None
    return targets
