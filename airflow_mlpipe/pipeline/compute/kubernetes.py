"""Kubernetes targets as Airflow knows them: by a connection, and with its operator to start pods."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from airflow_mlpipe.errors import TargetError
from airflow_mlpipe.model.kubernetes_target import KubernetesTarget
from airflow_mlpipe.model.pod_patch import STEP_CONTAINER
from airflow_mlpipe.pipeline.identity import TaskIdentity
from airflow_mlpipe.pipeline.settings import Settings
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.targets.kubernetes.cluster import Cluster
from airflow_mlpipe.targets.kubernetes.driver import KubernetesDriver
from airflow_mlpipe.targets.kubernetes.persistence import Persistence
from airflow_mlpipe.targets.kubernetes.pod import ATTEMPT_LABEL
from airflow_mlpipe.targets.runtime_bundle import runtime_bundle

DEFAULT_NAMESPACE = "default"

# Of a connection: the configuration with its credentials, the path of a file with it, and what of it to use.
_CONFIGURATION, _CONFIGURATION_FILE, _CONTEXT = "kube_config", "kube_config_path", "cluster_context"


def kubernetes_driver(
    target: KubernetesTarget, settings: Settings, datastore: Datastore, context: Any
) -> KubernetesDriver:
    """What runs attempts as pods of *target*, for the task of *context*. Raises TargetError."""
    hook = _hook(target)
    return KubernetesDriver(
        cluster=_cluster(target, hook),
        target=target,
        submit=PodSubmission(target, context, hook),
        runtime=runtime_bundle(settings.cache_directory),
        datastore=datastore,
        follower=TaskIdentity.of(context).attempt,
    )


def cluster_of(target: KubernetesTarget, persistence: Persistence | None = None) -> Cluster:
    """The cluster of *target*, asked as *persistence* allows. Raises TargetError; asks nobody yet."""
    return _cluster(target, _hook(target), persistence)


@dataclass(frozen=True)
class ClusterAddress:
    """How a triggerer reaches the namespace of a target: what a trigger may hold, no secrets.

    ``extras`` is what counts of the connection's, empty when nothing does or there is none; the triggerer
    does not look the connection up then, and ``kubernetes_conn_id`` is None. ``extras`` is None for a
    connection that holds credentials, which it must look up.
    """

    kubernetes_conn_id: str | None
    in_cluster: bool | None
    config_file: str | None
    cluster_context: str | None
    namespace: str
    extras: Mapping[str, Any] | None

    @classmethod
    def of(cls, target: KubernetesTarget) -> ClusterAddress:
        """That of *target*, as this worker reaches it."""
        hook = _hook(target)
        # Asked for neither in_cluster nor a file, only a worker looks whether it is in the cluster.
        found = {"in_cluster": hook.is_in_cluster or target.in_cluster}
        if (extras := _handed_over(hook.conn_extras, target)) is not None:
            found["kubernetes_conn_id"] = None
        return cls(**{**_how_to_reach(target), **found}, namespace=_namespace(target, hook), extras=extras)

    def async_hook(self) -> Any:
        """The provider's hook for event loops. Reads the configuration file, if there is one."""
        from airflow.providers.cncf.kubernetes.hooks.kubernetes import AsyncKubernetesHook

        read = None if self.config_file is None else yaml.safe_load(Path(self.config_file).read_text("utf8"))
        return AsyncKubernetesHook(
            config_dict=read,
            connection_extras=None if self.extras is None else dict(self.extras),
            kubernetes_conn_id=self.kubernetes_conn_id,
            in_cluster=self.in_cluster,
            cluster_context=self.cluster_context,
        )


@dataclass(frozen=True)
class PodSubmission:
    """Creates a pod as KubernetesPodOperator does for the task of *context*, through *hook*.

    So a pod has that operator's labels, its identity is kept in the state of the task, the deployment's
    ``pod_mutation_hook`` is applied, and ``pod_name`` and ``pod_namespace`` are found in XCom.
    """

    target: KubernetesTarget
    context: Any
    hook: Any

    def __call__(self, manifest: dict[str, Any]) -> None:
        """Create the pod. Raises an ApiException of the client, or what stands between it and the API."""
        from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
        from airflow.sdk.bases.operator import ExecutorSafeguard
        from airflow.sdk.exceptions import TaskDeferred

        metadata = manifest["metadata"]
        self._forget_other_pods(metadata["name"])
        operator = KubernetesPodOperator(
            task_id="pod",
            # The connection is the hook's to look up: what the operator would hand to a trigger is not used.
            **{**_how_to_reach(self.target), "kubernetes_conn_id": None},
            pod_template_dict=manifest,
            namespace=metadata["namespace"],
            base_container_name=STEP_CONTAINER,
            random_name_suffix=False,
            # It looks for its pod by labels as well: with this one it finds that of another attempt never.
            labels={ATTEMPT_LABEL: metadata["labels"][ATTEMPT_LABEL]},
            deferrable=True,
            durable=True,
            get_logs=False,
            log_events_on_startup=False,
            do_xcom_push=False,
            on_finish_action="keep_pod",
            on_kill_action="keep_pod",
        )
        operator.hook = self.hook  # which has read its configuration, and has connections open
        sentinel = {f"{type(operator).__name__}__sentinel": ExecutorSafeguard.sentinel_value}
        with contextlib.suppress(TaskDeferred):  # the pod is there; what waits for it is the step's own
            operator.execute(self.context, **sentinel)

    def _forget_other_pods(self, name: str) -> None:
        """Have the operator not go on with the pod of an earlier attempt of the same task."""
        from airflow.providers.cncf.kubernetes.operators.pod import POD_IDENTIFIER_STATE_KEY

        state = self.context.get("task_state_store")
        known = None if state is None else state.get(POD_IDENTIFIER_STATE_KEY)
        if state is not None and known is not None and not _names(known, name):
            state.delete(POD_IDENTIFIER_STATE_KEY)


def _hook(target: KubernetesTarget) -> Any:
    from airflow.providers.cncf.kubernetes.hooks.kubernetes import KubernetesHook

    return KubernetesHook(**_how_to_reach(target))


def _cluster(target: KubernetesTarget, hook: Any, persistence: Persistence | None = None) -> Cluster:
    from airflow.sdk.exceptions import AirflowException
    from kubernetes.config import ConfigException

    try:
        return Cluster(hook.core_v1_client, _namespace(target, hook), persistence)
    # The client raises the last two for a configuration that is no YAML, or the YAML of something else.
    except (AirflowException, ConfigException, OSError, ValueError, yaml.YAMLError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise TargetError(
            f"the cluster of compute target {target.name!r} cannot be reached: {reason}; correct its "
            f"connection {target.kubernetes_conn_id!r}, in_cluster or config_file"
        ) from error


def _namespace(target: KubernetesTarget, hook: Any) -> str:
    return target.namespace or hook.get_namespace() or DEFAULT_NAMESPACE


def _handed_over(extras: Mapping[str, Any], target: KubernetesTarget) -> dict[str, Any] | None:
    """What counts of a connection's *extras* beside what *target* says; None when that is a secret."""
    said = {name.removeprefix("extra__kubernetes__"): value for name, value in extras.items() if value}
    if _CONFIGURATION in said:
        return None
    counts = (_CONTEXT,) if target.config_file is not None else (_CONTEXT, _CONFIGURATION_FILE)
    return {name: said[name] for name in counts if name in said}


def _how_to_reach(target: KubernetesTarget) -> dict[str, Any]:
    return {
        "kubernetes_conn_id": target.kubernetes_conn_id,
        "in_cluster": target.in_cluster,
        "config_file": target.config_file,
        "cluster_context": target.cluster_context,
    }


def _names(known: object, name: str) -> bool:
    return isinstance(known, dict) and known.get("name") == name
