"""Checks that what the compute targets of the file name answers this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from airflow_mlpipe.errors import DefinitionError
from airflow_mlpipe.model.compute import ComputeTarget
from airflow_mlpipe.model.docker_target import DockerTarget
from airflow_mlpipe.model.kubernetes_target import KubernetesTarget
from airflow_mlpipe.model.remote_target import RemoteTarget
from airflow_mlpipe.pipeline.catalog import compute_targets, environments
from airflow_mlpipe.pipeline.doctor.finding import Finding, ok, warn
from airflow_mlpipe.pipeline.settings import Settings

SECONDS = 3

# The fields that lead to an engine, a cluster or a machine: what is at one address is asked once.
_ADDRESS: dict[type[ComputeTarget], tuple[str, ...]] = {
    DockerTarget: ("docker_url", "tls_directory"),
    KubernetesTarget: ("kubernetes_conn_id", "in_cluster", "config_file", "cluster_context", "namespace"),
    RemoteTarget: ("ssh_conn_id", "python"),
}
_UNREADABLE = "see the checks 'compute targets' and 'environments'"


def answers(settings: Settings) -> Finding:
    """Whether engines, clusters and machines of the targets answer; each is given some seconds."""
    try:
        places = _by_address(compute_targets().values())
    except DefinitionError:
        return warn("the file of compute targets cannot be read", _UNREADABLE)
    silent = {", ".join(names): cause for names, target in places if (cause := _why_silent(target))}
    if silent:
        return warn(
            "; ".join(f"{names}: {cause}" for names, cause in silent.items()),
            "only steps on these targets need it, on the machines where they run",
        )
    named = [name for names, _ in places for name in names]
    return ok(f"{', '.join(named)} answer{'s' if len(named) == 1 else ''}" if named else "no target needs it")


def image_builder(settings: Settings) -> Finding:
    """Whether the engine answers that builds images for pods, when environments of the file need one."""
    from airflow_mlpipe.pipeline.compute.images import image_builder as builder

    try:
        built = sorted(name for name, found in environments().items() if found.needs_building)
        has_pods = any(isinstance(target, KubernetesTarget) for target in compute_targets().values())
    except DefinitionError:
        return warn("the files of environments and compute targets cannot be read", _UNREADABLE)
    if not (built and has_pods):
        return ok("no environment of the file is built for pods")
    if cause := _why_silent(builder(settings)):
        return warn(
            f"{cause}; the environments {', '.join(built)} are built by it when pods need them",
            "set [mlpipe] image_builder to the address of a Docker engine, or build the images elsewhere",
        )
    return ok(f"answers, and builds {', '.join(built)} when pods need them")


def _by_address(targets: Iterable[ComputeTarget]) -> list[tuple[list[str], ComputeTarget]]:
    """The names of the *targets* at each address, with one of them; none of those of this machine."""
    places: dict[tuple[object, ...], tuple[list[str], ComputeTarget]] = {}
    for target in targets:
        if fields := _ADDRESS.get(type(target)):
            address = (type(target), *(getattr(target, field) for field in fields))
            places.setdefault(address, ([], target))[0].append(target.name)
    return list(places.values())


def _why_silent(target: ComputeTarget) -> str:
    """Why *target* cannot be used from here, in a line; "" when it can."""
    try:
        _ASK[type(target)](target)
    except Exception as error:  # whatever a provider or a client library raises
        return " ".join(str(error).split()) or type(error).__name__
    return ""


def _ask_engine(target: DockerTarget) -> None:
    from airflow_mlpipe.pipeline.compute.docker import ask_engine

    ask_engine(target, SECONDS)


def _ask_cluster(target: KubernetesTarget) -> None:
    from airflow_mlpipe.pipeline.compute.kubernetes import cluster_of
    from airflow_mlpipe.targets.kubernetes.persistence import Persistence

    cluster_of(target, Persistence(0)).pod("mlpipe-doctor")  # that it is not there is an answer


def _ask_machine(target: RemoteTarget) -> None:
    from airflow_mlpipe.pipeline.compute.remote import ask_machine

    ask_machine(target, SECONDS)


_ASK: dict[type[ComputeTarget], Callable[..., None]] = {
    DockerTarget: _ask_engine,
    KubernetesTarget: _ask_cluster,
    RemoteTarget: _ask_machine,
}
