"""Steps in pods of nodes that only pretend to run them, which wait in the triggerer."""

import os

from airflow.sdk import DAG

from airflow_mlpipe import KubernetesTarget, PythonScriptStep, Volume

STORE = os.environ["AIRFLOW__MLPIPE__DATASTORE"].removeprefix("file://")

pool = KubernetesTarget(
    image=os.environ["BENCHMARK_IMAGE"],
    config_file=os.environ["BENCHMARK_KUBECONFIG"],
    namespace=os.environ["BENCHMARK_NAMESPACE"],
    node_pool="pool=cpu",
    annotations={"fake/seconds": "3600"},
    volumes=(Volume(mount_path=STORE, host_path=STORE),),
)

with DAG("deferred_steps"):
    for n in range(int(os.environ["BENCHMARK_WIDTH"])):
        PythonScriptStep(
            task_id=f"task_{n:02}",
            source_directory="step",
            script_name="first_line.py",
            arguments=[n],
            compute_target=pool,
            allow_reuse=False,
            deferrable=True,
        )
