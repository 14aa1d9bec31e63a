"""How a pod comes to the nodes of its pool: the labels that it selects and the taints that it tolerates."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_mlpipe.model.kubernetes_target import KubernetesTarget
from airflow_mlpipe.model.node_pool import Provider
from airflow_mlpipe.model.taints import parse_toleration


@dataclass(frozen=True)
class _Labels:
    """How a provider tells its nodes apart. Taints are as ``kubectl taint`` writes them."""

    pool: str
    spot: tuple[str, str]
    spot_taints: tuple[str, ...] = ()
    gpu_taints: tuple[str, ...] = ()


_PROVIDERS: dict[Provider, _Labels] = {
    # https://cloud.google.com/kubernetes-engine/docs/how-to/spot-vms
    "gke": _Labels(
        "cloud.google.com/gke-nodepool",
        ("cloud.google.com/gke-spot", "true"),
        spot_taints=("cloud.google.com/gke-spot=true:NoSchedule",),
    ),
    # https://learn.microsoft.com/azure/aks/spot-node-pool, https://learn.microsoft.com/azure/aks/use-nvidia-gpu
    "aks": _Labels(
        "kubernetes.azure.com/agentpool",
        ("kubernetes.azure.com/scalesetpriority", "spot"),
        spot_taints=("kubernetes.azure.com/scalesetpriority=spot:NoSchedule",),
        gpu_taints=("sku=gpu:NoSchedule",),
    ),
    # https://docs.aws.amazon.com/eks/latest/userguide/managed-node-groups.html
    "eks": _Labels("eks.amazonaws.com/nodegroup", ("eks.amazonaws.com/capacityType", "SPOT")),
    # https://karpenter.sh/docs/concepts/scheduling/
    "karpenter": _Labels("karpenter.sh/nodepool", ("karpenter.sh/capacity-type", "spot")),
}


def node_selector(target: KubernetesTarget) -> dict[str, str]:
    """The labels that a node of the target has; empty for any node."""
    pool = target.node_pool
    if pool is None:
        return {}
    if pool.provider is None or pool.name is None:
        return dict(pool.labels)
    labels = _PROVIDERS[pool.provider]
    return {labels.pool: pool.name, **(dict([labels.spot]) if target.spot else {})}


def tolerations(target: KubernetesTarget) -> list[dict[str, str]]:
    """The taints that nodes of the target may have, each once: for GPUs, for spot nodes, and its own."""
    provider = target.node_pool.provider if target.node_pool else None
    labels = _PROVIDERS[provider] if provider else None
    taints: list[str] = []
    if target.gpus:
        taints += [f"{target.gpu_resource}:NoSchedule", *(labels.gpu_taints if labels else ())]
    if target.spot and labels:
        taints += labels.spot_taints
    return [parse_toleration(taint) for taint in dict.fromkeys([*taints, *target.tolerations])]
