"""Pods of a Kubernetes cluster, whose node has the bench's folder under its own path."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_mlpipe.model.kubernetes_target import KubernetesTarget
from airflow_mlpipe.model.volume import Volume
from airflow_mlpipe.targets.contract import AttemptDirectory, Container
from airflow_mlpipe.targets.kubernetes.names import pod_name, secret_name
from tests.engines import Cluster as TestCluster
from tests.engines import image_name
from tests.targets.benches import CarriedBench

if TYPE_CHECKING:
    from airflow_mlpipe.targets.kubernetes.driver import KubernetesDriver


class KubernetesBench(CarriedBench):
    """*namespace* of a cluster; *changes* are those of its target, *patience* is with the API, in seconds."""

    def __init__(
        self, folder: Path, bundle: Path, cluster: TestCluster, namespace: str, patience: float = 60.0
    ) -> None:
        super().__init__(folder, bundle)
        self.namespace = namespace
        self.core = cluster.core
        self.container = Container(image_name())
        self.changes: dict[str, Any] = {}
        self.patience = patience

    @property
    def target(self) -> KubernetesTarget:
        volume = Volume(mount_path=str(self.folder), host_path=str(self.folder))
        return KubernetesTarget(**{"node_pool": "pool=real", "volumes": (volume,), **self.changes})

    def driver(self) -> KubernetesDriver:
        from airflow_mlpipe.targets.kubernetes.cluster import Cluster
        from airflow_mlpipe.targets.kubernetes.driver import KubernetesDriver
        from airflow_mlpipe.targets.kubernetes.persistence import Persistence

        return KubernetesDriver(
            Cluster(self.core, self.namespace, Persistence(self.patience)),
            self.target,
            lambda manifest: self.core.create_namespaced_pod(self.namespace, manifest),
            self.bundle,
            self.datastore,
        )

    def destroy(self, attempt: AttemptDirectory) -> None:
        name = pod_name(attempt.attempt)
        self.core.delete_namespaced_pod(name, self.namespace, grace_period_seconds=0)

    def shown(self, attempt: AttemptDirectory) -> str:
        pod = self.core.read_namespaced_pod(pod_name(attempt.attempt), self.namespace)
        return super().shown(attempt) + json.dumps(self.core.api_client.sanitize_for_serialization(pod))

    def kept(self, attempt: AttemptDirectory) -> list[str]:
        pods = self.core.list_namespaced_pod(self.namespace).items
        secrets = self.core.list_namespaced_secret(self.namespace).items
        ours = {pod_name(attempt.attempt), secret_name(attempt.attempt)}
        kept = [found.metadata for found in (*pods, *secrets) if not found.metadata.deletion_timestamp]
        return [metadata.name for metadata in kept if metadata.name in ours]
