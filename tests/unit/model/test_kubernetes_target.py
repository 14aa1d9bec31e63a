"""A node pool as authors describe it, in Python and in YAML."""

from __future__ import annotations

import json
from datetime import date, timedelta
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_mlpipe import KubernetesTarget, NodePool, Volume
from airflow_mlpipe.errors import DefinitionError
from airflow_mlpipe.model.compute_targets import parse_targets
from airflow_mlpipe.model.pod_patch import merged
from airflow_mlpipe.model.taints import parse_toleration

A100 = """\
a100:
  type: kubernetes
  image: registry.example.com/train:7
  namespace: training
  kubernetes_conn_id: cluster
  cpu: 8
  cpu_limit: 12500m
  memory: 64Gi
  gpus: 2
  node_pool: {provider: gke, name: a100}
  spot: true
  tolerations: ["team=vision:NoSchedule"]
  volumes:
    - {claim: datasets, mount_path: /data, read_only: true}
    - {nfs: "filer.example.com:/exports/models", mount_path: /models}
  secrets: {TRACKING_TOKEN: tracking/token}
  shared_memory: 8Gi
  pool: gpus
  schedule_timeout: 7200
  image_pull_timeout: "00:45:00"
  cost_per_hour: 3.67
  pod_patch:
    spec: {hostNetwork: true}
"""


def test_a_section_of_the_file_is_the_same_target_as_in_python() -> None:
    assert parse_targets(A100, "targets.yaml")["a100"] == KubernetesTarget(
        "a100",
        image="registry.example.com/train:7",
        namespace="training",
        kubernetes_conn_id="cluster",
        cpu=8,
        cpu_limit="12500m",
        memory="64Gi",
        gpus=2,
        node_pool=NodePool.gke("a100"),
        spot=True,
        tolerations=["team=vision:NoSchedule"],
        volumes=[
            Volume(claim="datasets", mount_path="/data", read_only=True),
            Volume(nfs="filer.example.com:/exports/models", mount_path="/models"),
        ],
        secrets={"TRACKING_TOKEN": "tracking/token"},
        shared_memory="8Gi",
        pool="gpus",
        schedule_timeout=timedelta(hours=2),
        image_pull_timeout=timedelta(minutes=45),
        cost_per_hour=3.67,
        pod_patch={"spec": {"hostNetwork": True}},
    )


amounts = st.builds("{}{}".format, st.integers(1, 999), st.sampled_from(["Mi", "Gi", "M", "G"]))
names = st.from_regex(r"[a-z]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
pools = st.one_of(
    st.none(),
    names.map(NodePool.gke),
    names.map(NodePool.aks),
    names.map(NodePool.eks),
    names.map(NodePool.karpenter),
    names.map(NodePool.parse),
)
volumes = st.one_of(
    st.builds(lambda name: Volume(mount_path=f"/v/{name}", host_path=f"/srv/{name}"), names),
    st.builds(lambda name: Volume(mount_path=f"/v/{name}", claim=name, sub_path=name), names),
    st.builds(lambda name: Volume(mount_path=f"/v/{name}", nfs=f"{name}:/{name}", read_only=True), names),
    st.builds(lambda name, size: Volume(mount_path=f"/v/{name}", scratch=size), names, amounts),
)
targets = st.builds(
    KubernetesTarget,
    names,
    cpu=st.none() | st.integers(1, 64) | st.sampled_from([0.5, "250m"]),
    memory=st.none() | amounts,
    gpus=st.integers(0, 8),
    pool=st.none() | names,
    node_pool=pools,
    volumes=st.lists(volumes, max_size=3, unique_by=lambda volume: volume.mount_path).map(tuple),
    secrets=st.dictionaries(st.sampled_from(["TOKEN", "USER"]), names.map("{0}/{0}".format)),
    labels=st.dictionaries(names, names, max_size=2),
    annotations=st.dictionaries(names, st.text(max_size=8), max_size=2),
    run_as_root=st.booleans(),
    schedule_timeout=st.timedeltas(min_value=timedelta(seconds=1), max_value=timedelta(days=7)),
    pod_patch=st.dictionaries(
        st.just("spec"), st.dictionaries(st.just("hostNetwork"), st.booleans(), max_size=1), max_size=1
    ),
)


@given(targets)
@settings(max_examples=40, deadline=None)
def test_a_target_written_to_the_file_is_read_again_as_it_was(target: KubernetesTarget) -> None:
    section = target.model_dump(mode="json", exclude={"name"})
    text = yaml.safe_dump({"it": section})
    assert parse_targets(text, "targets.yaml")["it"] == target.model_copy(update={"name": "it"})


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("a100", {"pool": "a100"}),
        ("accelerator=a100", {"accelerator": "a100"}),
        ("example.com/pool=big, zone=b", {"example.com/pool": "big", "zone": "b"}),
    ],
)
def test_a_pool_given_as_text_is_the_labels_of_its_nodes(text: str, labels: dict[str, str]) -> None:
    assert KubernetesTarget(node_pool=text).node_pool == NodePool(labels=labels)


@pytest.mark.parametrize(
    ("taint", "toleration"),
    [
        ("dedicated", {"key": "dedicated", "operator": "Exists"}),
        (
            "nvidia.com/gpu:NoSchedule",
            {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},
        ),
        ("sku=gpu:NoExecute", {"key": "sku", "operator": "Equal", "value": "gpu", "effect": "NoExecute"}),
        ("sku=", {"key": "sku", "operator": "Equal", "value": ""}),
    ],
)
def test_a_taint_is_written_as_kubectl_writes_it(taint: str, toleration: dict[str, str]) -> None:
    assert parse_toleration(taint) == toleration


def test_a_step_takes_as_many_slots_of_the_airflow_pool_as_it_has_gpus_unless_it_is_told() -> None:
    assert KubernetesTarget(pool="gpus", gpus=4).pool_slots == 4
    assert KubernetesTarget(pool="gpus", gpus=4, pool_slots=1).pool_slots == 1
    assert KubernetesTarget(gpus=4).pool_slots is None
    assert KubernetesTarget(pool="cpus").pool_slots is None


def test_a_step_is_no_root_unless_that_is_asked_for() -> None:
    assert KubernetesTarget().run_as_user == 1000
    assert KubernetesTarget(run_as_root=True).run_as_user is None
    assert KubernetesTarget(run_as_root=True, run_as_user=0).run_as_user == 0


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        (
            {"memory": "16g"},
            "KubernetesTarget.memory: '16g' is no amount: write a number above 0 with its unit",
        ),
        ({"memory": "0Gi"}, "'0Gi' is no amount"),
        ({"memory": 16}, "KubernetesTarget.memory: 16 is no amount: write .* with its unit, such as '16Gi'"),
        ({"cpu": "four"}, "'four' is no number of CPUs: write a number above 0, such as 4, 0.5 or '500m'"),
        ({"cpu": 0}, "0.* is no number of CPUs"),
        ({"cpu": True}, "True is no number of CPUs"),
        ({"cpu": 4, "cpu_limit": 2}, "KubernetesTarget.cpu_limit: 2 is less than the 4 of cpu; raise it"),
        ({"cpu": 1, "cpu_limit": "900m"}, "900m is less than the 1 of cpu"),
        ({"cpu": float("inf")}, "inf is no number of CPUs"),
        ({"gpus": -1}, "KubernetesTarget.gpus: "),
        ({"gpus": True}, "KubernetesTarget.gpus: "),
        ({"gpu_resource": "nvidia gpu"}, "'nvidia gpu' is no key"),
        ({"gpu_resource": "gpu", "gpus": 1}, "'gpu' is no resource of devices such as 'nvidia.com/gpu'"),
        ({"gpu_resource": "amd.com/gpu"}, "'amd.com/gpu' without gpus; say how many, such as gpus=1"),
        ({"kubernetes_conn_id": ""}, "KubernetesTarget.kubernetes_conn_id: '' is no name"),
        ({"cluster_context": " "}, "KubernetesTarget.cluster_context: ' ' is no name"),
        ({"labels": {"airflow-mlpipe/attempt": "a"}}, "'airflow-mlpipe/attempt' belongs to this package"),
        (
            {"labels": {"kueue.x-k8s.io/queue-name": "a"}, "kueue_queue": "b"},
            "labels: kueue.x-k8s.io/queue-name is 'a', and kueue_queue is 'b'; leave one",
        ),
        ({"kueue_queue": ""}, "KubernetesTarget.kueue_queue: it is empty"),
        ({"image_pull_secrets": ["a", "b", "a"]}, "image_pull_secrets: 'a' is there twice"),
        ({"tolerations": ["a=b", "a=b"]}, "tolerations: 'a=b' is there twice"),
        ({"node_pool": "zone=a,zone=b"}, "'zone=a,zone=b' names a label twice"),
        ({"run_as_user": True}, "KubernetesTarget.run_as_user: "),
        ({"run_as_user": 7, "run_as_root": True}, "user 7 of run_as_user is not root; leave one"),
        ({"secrets": {"MLPIPE_PRIVATE": "a/b"}}, "'MLPIPE_PRIVATE' belongs to this package"),
        ({"schedule_timeout": True}, "schedule_timeout: write a number of seconds"),
        ({"namespace": "Training"}, "'Training' is no namespace"),
        ({"namespace": "a\n"}, "is no namespace"),
        ({"service_account": "a b"}, "'a b' is no name of an object"),
        ({"labels": {"team": "a b"}}, "'a b' is no value of a label"),
        ({"labels": {"te am": "a"}}, "'te am' is no key"),
        ({"kueue_queue": "q/1"}, "'q/1' is no value of a label"),
        ({"tolerations": ["gpu:Never"]}, "'gpu:Never' is no taint: write KEY"),
        ({"node_pool": "a=b=c"}, "'a=b=c' is no label of nodes such as 'pool=a100'"),
        ({"node_pool": ""}, "'pool=' is no label of nodes"),
        ({"node_pool": {"provider": "gke"}}, "NodePool: give a provider with the pool's name, or labels"),
        ({"node_pool": {"provider": "gke", "name": ""}}, "NodePool: give a provider with"),
        ({"node_pool": {}}, "NodePool: give a provider with the pool's name, or labels"),
        ({"node_pool": {"provider": "gce", "name": "a"}}, "'gke', 'aks', 'eks' or 'karpenter'"),
        ({"spot": True, "node_pool": "a100"}, "only a provider's pool, such as NodePool.gke"),
        ({"config_file": "kubeconfig"}, "'kubeconfig' is no absolute path"),
        ({"in_cluster": True, "cluster_context": "b"}, "the worker's cluster has no config_file and no"),
        ({"run_as_user": 0}, "user 0 is root; set run_as_root to allow that"),
        ({"secrets": {"TOKEN": "tracking"}}, "'tracking' names no value of a Secret: write SECRET/KEY"),
        ({"secrets": {"TO KEN": "a/b"}}, "'TO KEN' is no name of an environment variable"),
        (
            {"volumes": [{"mount_path": "/data"}]},
            "Volume at /data: give exactly one of host_path, claim, nfs",
        ),
        (
            {"volumes": [{"mount_path": "/data", "claim": "a", "scratch": "1Gi"}]},
            "Volume at /data: give exactly one of",
        ),
        ({"volumes": [{"mount_path": "data", "claim": "a"}]}, "'data' is no absolute path"),
        ({"volumes": [{"mount_path": "/a/../b", "claim": "a"}]}, "is no absolute path without '..'"),
        (
            {"volumes": [{"mount_path": "/mlpipe/code", "claim": "a"}]},
            "'/mlpipe/code' belongs to the container",
        ),
        ({"volumes": [{"mount_path": "//mlpipe", "claim": "a"}]}, "'//mlpipe' is no absolute path"),
        ({"volumes": [{"mount_path": "//", "claim": "a"}]}, "'//' is no absolute path"),
        ({"volumes": [{"mount_path": "/a ", "claim": "a"}]}, "'/a ' is no absolute path"),
        ({"volumes": [{"mount_path": "/a", "claim": "a", "sub_path": "b//c"}]}, "no path inside the volume"),
        ({"volumes": [{"mount_path": "/a", "claim": "a", "sub_path": " "}]}, "no path inside the volume"),
        (
            {"volumes": [{"mount_path": "/a", "scratch": "1Gi", "read_only": True}]},
            "Volume at /a: scratch is an empty folder to write to; leave read_only out",
        ),
        ({"volumes": [{"mount_path": "/a", "scratch": "1Gi", "sub_path": "b"}]}, "leave sub_path out"),
        ({"volumes": [{"mount_path": "/", "claim": "a"}]}, "'/' belongs to the container"),
        (
            {"volumes": [{"mount_path": "/a", "nfs": "/exports"}]},
            "'/exports' is no export: write SERVER:/PATH",
        ),
        ({"volumes": [{"mount_path": "/a", "claim": "a", "sub_path": "../b"}]}, "no path inside the volume"),
        (
            {"volumes": [{"mount_path": "/a", "claim": "a"}, {"mount_path": "/a/", "claim": "b"}]},
            "two of them are mounted at /a",
        ),
        (
            {"volumes": [{"mount_path": "/dev/shm", "scratch": "1Gi"}], "shared_memory": "1Gi"},
            "/dev/shm is what shared_memory mounts",
        ),
        ({"schedule_timeout": 0}, "KubernetesTarget.schedule_timeout: "),
        ({"schedule_timeout": "30 minutes"}, "schedule_timeout: write a number of seconds, .*'00:30:00'"),
        ({"driver_image": "A A"}, "driver_image: 'A A' is no name of an image"),
        ({"python": ""}, "python: '' is no interpreter: write the name of one"),
        ({"pod_patch": {"kind": "Job"}}, "a patch has metadata and spec, not 'kind'"),
        ({"pod_patch": {"spec": {"x": float("nan")}}}, "a patch is plain JSON"),
        ({"pod_patch": {"metadata": {"labels": {"day": date(2026, 11, 2)}}}}, "a patch is plain JSON"),
        ({"pod_patch": {"spec": []}}, "spec of a patch is a mapping"),
        ({"pod_patch": {"metadata": {"name": "x"}}}, "metadata: name is not for a patch to change"),
        ({"pod_patch": {"spec": {"restartPolicy": "Always"}}}, "restartPolicy is not for a patch to change"),
        (
            {"pod_patch": {"spec": {"containers": {"base": {}}}}},
            "containers of a patch is a list of mappings",
        ),
        (
            {"pod_patch": {"spec": {"volumes": [{"emptyDir": {}}]}}},
            "volumes of a patch .* each with its 'name'",
        ),
        (
            {"pod_patch": {"spec": {"containers": [{"name": "base", "command": ["sh"]}]}}},
            "container 'base': command is not for a patch to change",
        ),
        (
            {"pod_patch": {"spec": {"containers": [{"name": "base", "args": []}, {"name": "base"}]}}},
            "container 'base': args is not for a patch to change",
        ),
        (
            {"pod_patch": {"spec": {"containers": [{"name": "base", "env": [{"name": "A", "value": "1"}]}]}}},
            "container 'base': env is not for a patch .* use environment_variables .* and secrets",
        ),
        (
            {"pod_patch": {"spec": {"containers": [{"name": "base", "envFrom": []}]}}},
            "container 'base': envFrom is not for a patch",
        ),
        (
            {"pod_patch": {"spec": {"initContainers": [{"name": "drivers", "env": None}]}}},
            "container 'drivers': env is not for a patch",
        ),
        (
            {"pod_patch": {"metadata": {"labels": {"airflow-mlpipe/attempt": "b"}}}},
            "labels: 'airflow-mlpipe/attempt' is not for a patch to change",
        ),
        (
            {"pod_patch": {"spec": {"containers": [{"name": "bse", "tty": True}]}}},
            "container 'bse' has no image; that of the target to be patched here is 'base'",
        ),
        ({"pod_patch": {"spec": {"nodeSelctor": {}}}}, "spec: .* 'nodeSelctor': did you mean 'nodeSelector'"),
        ({"pod_patch": {"metadata": {"label": {}}}}, "metadata: .* 'label': did you mean 'labels'"),
        (
            {"pod_patch": {"spec": {"containers": [{"name": "base", "volumeMount": []}]}}},
            "container 'base': there is no field 'volumeMount': did you mean 'volumeMounts'",
        ),
        ({"memroy": "1Gi"}, "KubernetesTarget.memroy: there is no such field: did you mean 'memory'"),
    ],
)
def test_a_mistake_is_told_with_its_field_and_value(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(DefinitionError, match=sentence):
        KubernetesTarget(**fields)


def test_a_patch_may_have_a_field_of_a_newer_kubernetes() -> None:
    patch = {"spec": {"quantumLeap": True, "containers": [{"name": "base", "warpFactor": 9}]}}
    assert KubernetesTarget(pod_patch=patch).pod_patch == patch


def test_a_patch_may_bring_a_container_with_variables_of_its_own() -> None:
    proxy = {"name": "proxy", "image": "proxy:1", "env": [{"name": "A", "value": "1"}]}
    patch = {"spec": {"containers": [proxy], "initContainers": [{**proxy, "name": "first"}]}}
    assert KubernetesTarget(pod_patch=patch).pod_patch == patch


def test_a_patch_merges_mappings_and_named_lists_replaces_others_and_removes_with_null() -> None:
    pod = {
        "metadata": {"labels": {"a": "1", "b": "2"}},
        "spec": {
            "containers": [{"name": "base", "env": [{"name": "A", "value": "1"}], "tty": True}],
            "tolerations": [{"key": "a"}],
        },
    }
    patch = {
        "metadata": {"labels": {"b": None, "c": "3"}},
        "spec": {
            "containers": [
                {
                    "name": "base",
                    "env": [{"name": "A", "value": "2"}, {"name": "B", "value": "3"}],
                    "tty": None,
                },
                {"name": "proxy", "image": "proxy:1"},
            ],
            "tolerations": [{"key": "b"}],
        },
    }
    before = json.dumps([pod, patch])
    assert merged(pod, patch) == {
        "metadata": {"labels": {"a": "1", "c": "3"}},
        "spec": {
            "containers": [
                {"name": "base", "env": [{"name": "A", "value": "2"}, {"name": "B", "value": "3"}]},
                {"name": "proxy", "image": "proxy:1"},
            ],
            "tolerations": [{"key": "b"}],
        },
    }
    assert json.dumps([pod, patch]) == before
