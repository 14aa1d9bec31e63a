"""A node pool of a Kubernetes cluster, and what a step gets there."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from airflow_mlpipe.errors import DefinitionError
from airflow_mlpipe.model.compute import ContainerTarget, Count, Name
from airflow_mlpipe.model.image_name import Image
from airflow_mlpipe.model.kubernetes_texts import (
    AbsolutePath,
    Amount,
    Cpu,
    LabelValue,
    Namespace,
    ObjectName,
    QualifiedName,
    QueueName,
    SecretReference,
    VariableName,
    cpus,
)
from airflow_mlpipe.model.node_pool import NodePool
from airflow_mlpipe.model.pod_patch import OUR_LABELS, checked_patch
from airflow_mlpipe.model.taints import parse_toleration
from airflow_mlpipe.model.volume import Volume

# A user of this number is in few images, and need not be: a step writes to folders that it is given.
ORDINARY_USER = 1000

NVIDIA_GPU = "nvidia.com/gpu"
KUEUE_LABEL = "kueue.x-k8s.io/queue-name"

UserId = Annotated[Count, Field(lt=2**31)]
PullPolicy = Literal["Always", "IfNotPresent", "Never"]


def _no_truth_value(given: object) -> object:
    if isinstance(given, bool):
        raise ValueError("write a number of seconds, a text such as '00:30:00', or a timedelta")
    return given


TimeOut = Annotated[timedelta, Field(gt=timedelta(0)), BeforeValidator(_no_truth_value)]


class KubernetesTarget(ContainerTarget):
    """A node pool of a Kubernetes cluster: each attempt of a step is a pod there.

    The cluster is that of the Airflow connection ``kubernetes_conn_id``, unless ``in_cluster``,
    ``config_file`` or ``cluster_context`` say otherwise; ``namespace`` is that of the connection by default.

    ``cpu`` is what the pod requests; it is limited by ``cpu_limit`` only. ``memory`` is request and limit, so
    that a step ends at its own limit and not at its neighbours' cost. ``gpus`` of the kind ``gpu_resource``
    bring the toleration of the taint of that name with them. ``node_pool`` is a :class:`NodePool` or its
    text; ``spot`` asks for its spot nodes. ``tolerations`` are taints as ``kubectl taint`` writes them, such
    as ``sku=gpu:NoSchedule``. ``ephemeral_storage`` is disk for the step's own folders, ``shared_memory`` the
    size of ``/dev/shm``, which counts as memory.

    The container runs as ``run_as_user``; None is the image's own user, who must not be root unless
    ``run_as_root`` says so. ``fs_group`` is the group of its volumes. ``secrets`` maps environment variables
    to values of Kubernetes Secrets, ``SECRET/KEY``. ``driver_image`` is an image that has the fsspec driver
    of the datastore, for images that lack it. ``pod_patch`` is merged over the pod as ``kubectl patch`` does.

    A pod may wait ``schedule_timeout`` for a node, then ``image_pull_timeout`` for its images, then
    ``startup_timeout`` until it runs. With ``keep_failed_pods`` one that failed stays to be looked at. With a
    ``pool`` and no ``pool_slots``, a step takes as many slots as it has GPUs.
    """

    type: Literal["kubernetes"] = "kubernetes"

    kubernetes_conn_id: Name | None = "kubernetes_default"
    in_cluster: bool | None = None
    config_file: AbsolutePath | None = None
    cluster_context: Name | None = None
    namespace: Namespace | None = None

    cpu: Cpu | None = None
    cpu_limit: Cpu | None = None
    memory: Amount | None = None
    gpus: Count = 0
    gpu_resource: QualifiedName = NVIDIA_GPU
    ephemeral_storage: Amount | None = None
    shared_memory: Amount | None = None
    volumes: tuple[Volume, ...] = ()

    node_pool: NodePool | None = None
    spot: bool = False
    tolerations: tuple[str, ...] = ()
    priority_class: ObjectName | None = None
    kueue_queue: QueueName | None = None

    image_pull_policy: PullPolicy | None = None
    image_pull_secrets: tuple[ObjectName, ...] = ()
    driver_image: Image | None = None

    service_account: ObjectName | None = None
    automount_service_account_token: bool = False
    run_as_user: UserId | None = ORDINARY_USER
    run_as_group: UserId | None = None
    fs_group: UserId | None = None
    run_as_root: bool = False
    secrets: dict[VariableName, SecretReference] = Field(default_factory=dict)

    labels: dict[QualifiedName, LabelValue] = Field(default_factory=dict)
    annotations: dict[QualifiedName, str] = Field(default_factory=dict)
    pod_patch: dict[str, Any] = Field(default_factory=dict)

    schedule_timeout: TimeOut = timedelta(minutes=30)
    image_pull_timeout: TimeOut = timedelta(minutes=20)
    startup_timeout: TimeOut = timedelta(minutes=5)
    keep_failed_pods: bool = False

    def __init__(self, name: str = "kubernetes", **values: Any) -> None:
        if values.get("run_as_root"):
            values.setdefault("run_as_user", None)
        if values.get("pool") is not None and values.get("pool_slots") is None and values.get("gpus"):
            values["pool_slots"] = values["gpus"]
        super().__init__(name=name, **values)
        self._check_cluster()
        self._check_resources()
        self._check_nodes()
        self._check_user()
        self._check_volumes()

    def _check_cluster(self) -> None:
        if self.in_cluster and (self.config_file or self.cluster_context):
            raise DefinitionError(
                "KubernetesTarget.in_cluster: the worker's cluster has no config_file and no cluster_context"
            )

    def _check_resources(self) -> None:
        if self.cpu and self.cpu_limit and cpus(self.cpu_limit) < cpus(self.cpu):
            raise DefinitionError(
                f"KubernetesTarget.cpu_limit: {self.cpu_limit} is less than the {self.cpu} of cpu; raise it, "
                "or leave it out"
            )
        if not self.gpus and self.gpu_resource != NVIDIA_GPU:
            raise DefinitionError(
                f"KubernetesTarget.gpu_resource: {self.gpu_resource!r} without gpus; say how many, such as "
                "gpus=1, or leave it out"
            )

    def _check_nodes(self) -> None:
        if self.spot and (self.node_pool is None or self.node_pool.provider is None):
            raise DefinitionError(
                "KubernetesTarget.spot: only a provider's pool, such as NodePool.gke('a100'), tells its spot "
                "nodes apart; else name their label in node_pool and their taint in tolerations"
            )
        if self.kueue_queue and self.labels.get(KUEUE_LABEL, self.kueue_queue) != self.kueue_queue:
            raise DefinitionError(
                f"KubernetesTarget.labels: {KUEUE_LABEL} is {self.labels[KUEUE_LABEL]!r}, and kueue_queue is "
                f"{self.kueue_queue!r}; leave one of the two out"
            )

    def _check_user(self) -> None:
        if self.run_as_user == 0 and not self.run_as_root:
            raise DefinitionError(
                "KubernetesTarget.run_as_user: user 0 is root; set run_as_root to allow that"
            )
        if self.run_as_user and self.run_as_root:
            raise DefinitionError(
                f"KubernetesTarget.run_as_root: user {self.run_as_user} of run_as_user is not root; leave "
                "one of the two out"
            )

    def _check_volumes(self) -> None:
        paths = [volume.mount_path for volume in self.volumes]
        if twice := sorted(path for path in set(paths) if paths.count(path) > 1):
            raise DefinitionError(f"KubernetesTarget.volumes: two of them are mounted at {twice[0]}")
        if self.shared_memory and "/dev/shm" in paths:  # noqa: S108  # the container's own
            raise DefinitionError("KubernetesTarget.volumes: /dev/shm is what shared_memory mounts")

    @field_validator("node_pool", mode="before")
    @classmethod
    def _pool_of_text(cls, pool: object) -> object:
        return NodePool.parse(pool) if isinstance(pool, str) else pool

    @field_validator("tolerations")
    @classmethod
    def _tolerations_are_taints(cls, tolerations: tuple[str, ...]) -> tuple[str, ...]:
        parsed = [parse_toleration(taint) for taint in tolerations]
        if double := [taint for taint, one in zip(tolerations, parsed, strict=True) if parsed.count(one) > 1]:
            raise ValueError(f"{double[0]!r} is there twice; write each once")
        return tolerations

    @field_validator("gpu_resource")
    @classmethod
    def _resource_is_a_devices(cls, resource: str) -> str:
        if "/" not in resource:
            raise ValueError(
                f"{resource!r} is no resource of devices such as 'nvidia.com/gpu' or 'amd.com/gpu'"
            )
        return resource

    @field_validator("image_pull_secrets")
    @classmethod
    def _secrets_are_several(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if double := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"{double[0]!r} is there twice; write each once")
        return names

    @field_validator("secrets")
    @classmethod
    def _variables_are_the_authors(cls, secrets: dict[str, str]) -> dict[str, str]:
        if ours := [name for name in secrets if name.startswith("MLPIPE_")]:
            raise ValueError(f"the variable {ours[0]!r} belongs to this package; call it something else")
        return secrets

    @field_validator("labels")
    @classmethod
    def _labels_are_the_authors(cls, labels: dict[str, str]) -> dict[str, str]:
        if ours := [key for key in labels if key.startswith(OUR_LABELS)]:
            raise ValueError(f"{ours[0]!r} belongs to this package, which finds its pods by it; leave it out")
        return labels

    @field_validator("pod_patch")
    @classmethod
    def _patch_leaves_what_makes_it_a_step(cls, patch: dict[str, Any]) -> dict[str, Any]:
        return checked_patch(patch)
