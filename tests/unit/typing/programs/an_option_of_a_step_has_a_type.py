"""The keywords of ``@step(...)`` are those of the step and of any task, each with its type."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import Asset, TriggerRule

from airflow_mlpipe import Environment, LocalTarget, step


@step(
    task_id="training",
    compute_target=LocalTarget(),
    environment=Environment(pip_packages=["scikit-learn==1.7.2"]),
    environment_variables={"OMP_NUM_THREADS": "1"},
    source_directory="src",
    experiment="digits",
    allow_reuse=True,
    hash_paths=["settings.toml"],
    regenerate_outputs=False,
    reuse_version="2",
    max_age=timedelta(days=7),
    reuse_scope="dag",
    code_scope="directory",
    emit_assets_on_reuse=True,
    multiple_outputs=False,
    deferrable=True,
    retries=2,
    retry_delay=timedelta(minutes=1),
    pool="gpus",
    trigger_rule=TriggerRule.ALL_DONE,
    outlets=[Asset("model")],
    on_failure_callback=lambda context: print(context["ti"]),
)
def train(rounds: int) -> None: ...


train(3)
step(compute_target=3)  # E: call-overload, reportArgumentType
step(environment=["scikit-learn"])  # E: call-overload, reportArgumentType
step(reuse_scope="run")  # E: call-overload, reportArgumentType
step(max_age=7)  # E: call-overload, reportArgumentType
step(retries="2")  # E: call-overload, reportArgumentType
step(compute_tagret="gpu")  # E: call-overload, reportCallIssue
step("gpu")  # E: call-overload, reportArgumentType
