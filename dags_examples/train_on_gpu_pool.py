"""Prepare data on ordinary nodes of a Kubernetes cluster, and train on its pool of GPUs.

prepare -> train. The steps name their compute targets, ``cpu_nodes`` and ``gpu_pool``, and the file that
``[mlpipe] compute_targets`` leads to says what these are. That file is the switch:

- ``gpu_pool/on_kubernetes.yaml`` makes them a Kubernetes cluster: each step is a pod there. Write your
  cluster's names into it.
- ``gpu_pool/wholly_local.yaml`` makes them this machine: the same DAG runs without any cluster.

The DAG and the scripts stay as they are. Trigger it twice: the second run reuses both steps, starts no pod
and waits for no GPU. Trigger it with another ``rate``: only the training runs again, on the GPU pool.
"""

from __future__ import annotations

from airflow.sdk import Param, dag

from airflow_mlpipe import OutputFileDatasetConfig, PipelineData, PipelineParameter, PythonScriptStep


@dag(
    schedule=None,
    tags=["mlpipe", "example", "kubernetes"],
    params={"rate": Param(0.1, type="number", exclusiveMinimum=0, description="learning rate")},
    doc_md=__doc__,
)
def train_on_gpu_pool() -> None:
    prepared, model = OutputFileDatasetConfig("prepared"), PipelineData("model")

    PythonScriptStep(
        task_id="prepare",
        source_directory="gpu_pool/scripts",
        script_name="prepare.py",
        arguments=["--points", 400, "--output", prepared],
        compute_target="cpu_nodes",
    )
    PythonScriptStep(
        task_id="train",
        source_directory="gpu_pool/scripts",
        script_name="train.py",
        arguments=["--data", prepared.as_input(), "--rate", PipelineParameter("rate"), "--model", model],
        compute_target="gpu_pool",
    )


train_on_gpu_pool()
