"""One script by a bare operator and by a step: a process, a container, a pod; one after the other."""

import os
import sys
from pathlib import Path

from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.providers.docker.operators.docker import DockerOperator
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, chain

from airflow_mlpipe import DockerTarget, KubernetesTarget, LocalTarget, PythonScriptStep, Volume

SCRIPT = Path(__file__).parent / "step" / "first_line.py"
COMMAND = ["python3", "-c", SCRIPT.read_text()]
IMAGE, STORE = os.environ["BENCHMARK_IMAGE"], os.environ["AIRFLOW__MLPIPE__DATASTORE"].removeprefix("file://")


def step(name, target):
    return PythonScriptStep(
        task_id=f"{name}_step",
        source_directory="step",
        script_name=SCRIPT.name,
        compute_target=target,
        allow_reuse=False,
    )


with DAG("launches"):
    tasks = [
        BashOperator(task_id="local_bare", bash_command=f"{sys.executable} {SCRIPT}"),
        step("local", LocalTarget()),
    ]
    if url := os.environ.get("BENCHMARK_DOCKER"):
        bare = DockerOperator(
            task_id="docker_bare", image=IMAGE, command=COMMAND, docker_url=url, auto_remove="force"
        )
        tasks += [bare, step("docker", DockerTarget(docker_url=url, image=IMAGE))]
    if kubeconfig := os.environ.get("BENCHMARK_KUBECONFIG"):
        namespace = os.environ["BENCHMARK_NAMESPACE"]
        bare = KubernetesPodOperator(
            task_id="kubernetes_bare",
            image=IMAGE,
            cmds=COMMAND,
            config_file=kubeconfig,
            namespace=namespace,
            node_selector={"pool": "real"},
            image_pull_policy="IfNotPresent",
        )
        pool = KubernetesTarget(
            image=IMAGE,
            config_file=kubeconfig,
            namespace=namespace,
            node_pool="pool=real",
            image_pull_policy="IfNotPresent",
            run_as_root=True,  # as the bare one, and so that it may write to the folder
            volumes=(Volume(mount_path=STORE, host_path=STORE),),
        )
        tasks += [bare, step("kubernetes", pool)]
    chain(*tasks)
