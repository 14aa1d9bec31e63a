"""The pod of an attempt: what Kubernetes would make of the manifest."""

from __future__ import annotations

import json
import re
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import kubernetes_validate
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_mlpipe import KubernetesTarget, NodePool, Volume
from airflow_mlpipe.errors import TargetError
from airflow_mlpipe.records import RunInfo
from airflow_mlpipe.targets.kubernetes.names import label_value, pod_name, secret_name
from airflow_mlpipe.targets.kubernetes.pod import PARCEL_FOLDER, pod_manifest, refuse_hidden_datastore
from airflow_mlpipe.targets.parcel import ROOT, boot_command

RUN = RunInfo("train-1", "retrain", "retrain", "manual__2026-11-02T08:00:00+00:00", "train", -1, 1)
BOOT = boot_command("python3", PARCEL_FOLDER, ROOT)
VERSIONS = [f"1.{minor}" for minor in range(30, 38)]

TARGETS = {
    "plain": KubernetesTarget(),
    "everything": KubernetesTarget(
        "a100",
        cpu=8,
        cpu_limit=16,
        memory="64Gi",
        gpus=2,
        ephemeral_storage="100Gi",
        shared_memory="8Gi",
        volumes=[
            Volume(host_path="/srv/data", mount_path="/data", read_only=True),
            Volume(claim="models", mount_path="/models", sub_path="v1"),
            Volume(nfs="filer:/exports", mount_path="/exports"),
            Volume(scratch="50Gi", mount_path="/fast"),
        ],
        node_pool=NodePool.aks("a100"),
        spot=True,
        tolerations=["team=vision", "dedicated:NoExecute"],
        priority_class="low",
        kueue_queue="research",
        image_pull_policy="Always",
        image_pull_secrets=["registry"],
        driver_image="drivers:1",
        service_account="trainer",
        automount_service_account_token=True,
        run_as_user=2000,
        run_as_group=3000,
        fs_group=4000,
        secrets={"TOKEN": "tracking/token"},
        labels={"team": "vision"},
        annotations={"example.com/note": "any text: at all"},
        pod_patch={
            "metadata": {"labels": {"example.com/cost": "17"}},
            "spec": {"runtimeClassName": "nvidia", "containers": [{"name": "base", "tty": True}]},
        },
    ),
    "root": KubernetesTarget(run_as_root=True, pod_patch={"spec": None}),
    "the image's own user": KubernetesTarget(run_as_user=None),
    "labels": KubernetesTarget(node_pool="accelerator=a100,zone=b", gpus=1, gpu_resource="amd.com/gpu"),
}


def pod_of(target: KubernetesTarget, run: RunInfo = RUN, **changes: Any) -> dict[str, Any]:
    values = {"namespace": "training", "image": "train:7", "command": BOOT, **changes}
    return pod_manifest(target, run.id, run, **values)


def step_container(pod: dict[str, Any]) -> dict[str, Any]:
    return next(item for item in pod["spec"]["containers"] if item["name"] == "base")


@pytest.mark.parametrize("version", VERSIONS)
def test_every_pod_is_valid_in_the_strict_schema_of_every_version(version: str) -> None:
    for target in TARGETS.values():
        kubernetes_validate.validate(pod_of(target), version, strict=True)


def test_the_strict_schema_finds_a_field_that_is_none() -> None:
    wrong = pod_of(KubernetesTarget(pod_patch={"spec": {"quantumLeap": {}}}))
    with pytest.raises(kubernetes_validate.ValidationError, match="quantumLeap"):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


@pytest.mark.parametrize(
    ("pool", "selector", "taints"),
    [
        (
            NodePool.gke("a100"),
            {"cloud.google.com/gke-nodepool": "a100", "cloud.google.com/gke-spot": "true"},
            {"nvidia.com/gpu", "cloud.google.com/gke-spot"},
        ),
        (
            NodePool.aks("a100"),
            {"kubernetes.azure.com/agentpool": "a100", "kubernetes.azure.com/scalesetpriority": "spot"},
            {"nvidia.com/gpu", "sku", "kubernetes.azure.com/scalesetpriority"},
        ),
        (
            NodePool.eks("a100"),
            {"eks.amazonaws.com/nodegroup": "a100", "eks.amazonaws.com/capacityType": "SPOT"},
            {"nvidia.com/gpu"},
        ),
        (
            NodePool.karpenter("a100"),
            {"karpenter.sh/nodepool": "a100", "karpenter.sh/capacity-type": "spot"},
            {"nvidia.com/gpu"},
        ),
    ],
    ids=lambda value: value.provider if isinstance(value, NodePool) else "",
)
def test_a_spot_pod_with_gpus_goes_to_its_pool_at_every_provider(
    pool: NodePool, selector: dict[str, str], taints: set[str]
) -> None:
    spec = pod_of(KubernetesTarget(node_pool=pool, gpus=1, spot=True))["spec"]
    assert spec["nodeSelector"] == selector
    assert {toleration["key"] for toleration in spec["tolerations"]} == taints


def test_a_pod_without_gpus_tolerates_no_taint_of_gpus_and_asks_for_none() -> None:
    pod = pod_of(KubernetesTarget(node_pool=NodePool.aks("cpu"), memory="1Gi"))
    assert "tolerations" not in pod["spec"]
    assert step_container(pod)["resources"] == {"requests": {"memory": "1Gi"}, "limits": {"memory": "1Gi"}}


def test_gpus_and_memory_are_limits_and_cpu_is_only_requested() -> None:
    container = step_container(pod_of(KubernetesTarget(cpu=4, memory="1Gi", gpus=2)))
    assert container["resources"] == {
        "requests": {"cpu": "4", "memory": "1Gi", "nvidia.com/gpu": "2"},
        "limits": {"memory": "1Gi", "nvidia.com/gpu": "2"},
    }


@pytest.mark.parametrize("name", TARGETS)
def test_no_container_is_privileged_or_may_become_so(name: str) -> None:
    spec = pod_of(TARGETS[name])["spec"]
    for container in [*spec["containers"], *spec.get("initContainers", ())]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        }
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["securityContext"]["runAsNonRoot"] is (name != "root")


def test_by_default_a_pod_has_no_token_of_the_cluster_and_an_ordinary_user() -> None:
    spec = pod_of(KubernetesTarget())["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsUser"] == spec["securityContext"]["runAsGroup"] == 1000
    assert spec["securityContext"]["fsGroup"] == 1000


def test_a_secret_is_a_reference_in_the_environment_and_wins_over_a_plain_value() -> None:
    target = KubernetesTarget(secrets={"TOKEN": "tracking/api.key"})
    variables = step_container(pod_of(target, environment={"TOKEN": "plain", "A": "1"}))["env"]
    assert [item for item in variables if item["name"] in ("TOKEN", "A")] == [
        {"name": "A", "value": "1"},
        {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "tracking", "key": "api.key"}}},
    ]


def test_what_the_container_mounts_is_a_volume_of_the_pod() -> None:
    for target in TARGETS.values():
        spec = pod_of(target)["spec"]
        volumes = [volume["name"] for volume in spec["volumes"]]
        mounts = [
            mount
            for container in [*spec["containers"], *spec.get("initContainers", ())]
            for mount in container["volumeMounts"]
        ]
        assert len(volumes) == len(set(volumes))
        assert {mount["name"] for mount in mounts} == set(volumes)


def test_only_the_users_of_the_pod_read_the_parcel() -> None:
    volumes = pod_of(KubernetesTarget())["spec"]["volumes"]
    assert volumes[0]["secret"] == {"secretName": secret_name(RUN.id), "defaultMode": 0o440}


def test_labels_of_the_target_stand_beside_those_by_which_a_pod_is_found() -> None:
    found = pod_of(KubernetesTarget(labels={"team": "vision"}))["metadata"]["labels"]
    assert found["airflow-mlpipe/attempt"] == RUN.id
    assert found["app.kubernetes.io/managed-by"] == "airflow-mlpipe"
    assert found["team"] == "vision"


@pytest.mark.parametrize(
    ("volumes", "is_refused"),
    [
        ([], True),
        ([Volume(nfs="filer:/ml", mount_path="/ml", read_only=True)], True),
        ([Volume(nfs="filer:/ml", mount_path="/m")], True),
        ([Volume(nfs="filer:/ml", mount_path="/ml")], False),
    ],
)
def test_a_datastore_in_a_folder_that_the_pod_cannot_write_to_is_refused(
    volumes: list[Volume], is_refused: bool
) -> None:
    target = KubernetesTarget("a100", volumes=volumes)
    url = "file:///ml/mlpipe/v1/attempts/train-1/carriage.json"
    with pytest.raises(TargetError, match="'a100' would not find /ml/") if is_refused else nullcontext():
        refuse_hidden_datastore(target, pod_of(target), url)
    refuse_hidden_datastore(target, pod_of(target), "s3://bucket/carriage.json")


def test_an_autoscaler_leaves_a_node_with_a_step_alone_unless_the_target_says_otherwise() -> None:
    key = "karpenter.sh/do-not-disrupt"
    assert pod_of(KubernetesTarget())["metadata"]["annotations"][key] == "true"
    assert pod_of(KubernetesTarget(annotations={key: "false"}))["metadata"]["annotations"][key] == "false"


texts = st.text(max_size=80)
LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


@given(texts)
def test_any_text_becomes_a_label_and_any_attempt_a_name(text: str) -> None:
    assert LABEL.fullmatch(label_value(text))
    assert DNS_LABEL.fullmatch(pod_name(text))
    assert DNS_LABEL.fullmatch(secret_name(text))


@given(texts, texts)
def test_different_texts_stay_different(one: str, other: str) -> None:
    assert (label_value(one) == label_value(other)) is (one == other)
    assert (pod_name(one) == pod_name(other)) is (one == other)


def test_what_is_a_label_already_stays_readable() -> None:
    assert label_value("retrain_digits.v2") == "retrain_digits.v2"
    assert label_value("train-0a1b.2").startswith("train-")
    assert label_value("a b" * 40).startswith("a-ba-b")
    assert pod_name("Train-0a1b").startswith("mlpipe-train-0a1b-")


def expanded(text: str, variables: dict[str, str]) -> str:
    """What Kubernetes makes of an argument or a variable's value: $(NAME) is its value, $$ is $."""
    pattern = re.compile(r"\$(?:\$|\((?P<name>[^)]*)\))")
    return pattern.sub(
        lambda found: "$" if found["name"] is None else variables.get(found["name"], found[0]), text
    )


@given(st.lists(st.text(max_size=30) | st.sampled_from(["$(HOME)", "$$(HOME)", "$", "`id`", "; rm -rf /"])))
@settings(max_examples=200)
def test_arguments_and_variables_arrive_as_they_are(arguments: list[str]) -> None:
    environment = {f"V{index}": argument for index, argument in enumerate(arguments)}
    container = step_container(pod_of(KubernetesTarget(), command=arguments, environment=environment))
    known = {"HOME": "/elsewhere"}
    assert [expanded(argument, known) for argument in container["command"]] == arguments
    assert "args" not in container
    found = {item["name"]: expanded(item["value"], known) for item in container["env"]}
    assert {name: found[name] for name in environment} == environment


@given(texts, texts, texts, st.integers(-1, 10))
@settings(max_examples=25, deadline=None)
def test_whatever_a_dag_is_called_its_pod_is_valid_and_holds_the_full_names(
    dag: str, task: str, run: str, map_index: int
) -> None:
    told = replace(RUN, dag_id=dag, task_id=task, dag_run_id=run, map_index=map_index)
    pod = pod_of(TARGETS["everything"], told)
    kubernetes_validate.validate(pod, VERSIONS[-1], strict=True)
    assert all(LABEL.fullmatch(value) for value in pod["metadata"]["labels"].values())
    notes = json.loads(json.dumps(pod))["metadata"]["annotations"]
    assert [notes[f"airflow-mlpipe/{key}"] for key in ("dag", "task", "run")] == [dag, task, run]
