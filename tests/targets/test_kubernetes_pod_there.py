"""The pod of an attempt on a real cluster: what the manifest promises is so."""

from __future__ import annotations

import base64
import json

from airflow_mlpipe import KubernetesTarget
from airflow_mlpipe.records import RunInfo
from airflow_mlpipe.targets.kubernetes.names import secret_name
from airflow_mlpipe.targets.kubernetes.pod import PARCEL_FOLDER, pod_manifest
from tests.engines import Cluster
from tests.targets.waiting import wait_until

RUN = RunInfo("there", "retrain", "retrain digits", "manual__2026-11-02T08:00:00+00:00", "train.it", -1, 1)
HOSTILE = ["$(HOME)", "$$(HOME)", "; id #", "`id`", "a'b\"c\nd", "{{ ti }}"]
LOOK = f"""
import json, os, s3fs, sys
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
open("/mlpipe/written", "w").close()
print(json.dumps({{
    "arguments": sys.argv[1:],
    "variable": os.environ["HOSTILE"],
    "token": os.environ["TOKEN"],
    "user": os.getuid(),
    "capabilities": int(status["CapEff"], 16),
    "may gain more": status["NoNewPrivs"].strip() == "0",
    "parcel": open("{PARCEL_FOLDER}/spec").read(),
    "drivers": s3fs.__file__,
    "has a token of the cluster": os.path.exists("/var/run/secrets/kubernetes.io"),
}}))
"""


def test_a_step_is_an_ordinary_user_with_its_arguments_parcel_secrets_and_drivers(
    kubernetes: Cluster, namespace: str, image: str, s3_image: str
) -> None:
    core = kubernetes.core
    target = KubernetesTarget(
        node_pool="real",
        memory="256Mi",
        driver_image=s3_image,
        image_pull_policy="IfNotPresent",
        secrets={"TOKEN": "tracking/token"},
    )
    pod = pod_manifest(
        target,
        RUN.id,
        RUN,
        namespace=namespace,
        image=image,
        command=["python3", "-c", LOOK, *HOSTILE],
        environment={"HOSTILE": "".join(HOSTILE)},
    )
    for name, key, value in ((secret_name(RUN.id), "spec", "{}"), ("tracking", "token", "sesame")):
        data = {key: base64.b64encode(value.encode()).decode()}
        core.create_namespaced_secret(namespace, {"metadata": {"name": name}, "data": data})
    core.create_namespaced_pod(namespace, pod)
    found = core.list_namespaced_pod(namespace, label_selector="airflow-mlpipe/task=train.it").items
    (name,) = (item.metadata.name for item in found)
    assert name == pod["metadata"]["name"]
    wait_until(lambda: core.read_namespaced_pod(name, namespace).status.phase in ("Succeeded", "Failed"))
    printed = core.read_namespaced_pod_log(name, namespace, _preload_content=False).data
    assert json.loads(printed) == {
        "arguments": HOSTILE,
        "variable": "".join(HOSTILE),
        "token": "sesame",
        "user": 1000,
        "capabilities": 0,
        "may gain more": False,
        "parcel": "{}",
        "drivers": "/mlpipe-drivers/s3fs/__init__.py",
        "has a token of the cluster": False,
    }
