"""Pods of nodes that only pretend to run them, which wait in the triggerer."""

import os

from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk import DAG

with DAG("deferred_pods"):
    for n in range(int(os.environ["BENCHMARK_WIDTH"])):
        KubernetesPodOperator(
            task_id=f"task_{n:02}",
            image=os.environ["BENCHMARK_IMAGE"],
            cmds=["python3", "-c", "print('first line')"],
            config_file=os.environ["BENCHMARK_KUBECONFIG"],
            namespace=os.environ["BENCHMARK_NAMESPACE"],
            node_selector={"pool": "cpu"},
            annotations={"fake/seconds": "3600"},
            deferrable=True,
        )
