"""The keywords of ``@step(...)`` and ``.override(...)``, as type checkers see them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypedDict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, MutableMapping, Sequence
    from datetime import datetime, timedelta
    from typing import TypeAlias

    from airflow.sdk import DAG, TaskGroup
    from airflow.sdk.definitions.retry_policy import RetryPolicy
    from airflow.sdk.types import WeightRuleParam

    from airflow_mlpipe.model.compute import ComputeTarget
    from airflow_mlpipe.model.environment import Environment

    # The context that they get is Any: spelt out, it would fill pages of every message about a keyword.
    Hook: TypeAlias = Callable[[Any], Any]
    Hooks: TypeAlias = Hook | list[Hook] | None


class TaskOptions(TypedDict, total=False):
    """What every task of Airflow has."""

    task_id: str
    task_display_name: str | None
    task_group: TaskGroup | None
    dag: DAG | None
    owner: str
    doc: str | None
    doc_md: str | None
    doc_json: str | None
    doc_yaml: str | None
    doc_rst: str | None

    params: MutableMapping[str, Any] | None
    default_args: dict[str, Any] | None
    inlets: Any
    outlets: Any
    do_xcom_push: bool
    multiple_outputs: bool | None
    map_index_template: str | None
    render_template_as_native_obj: bool | None

    trigger_rule: str
    start_date: datetime | None
    end_date: datetime | None
    depends_on_past: bool
    ignore_first_depends_on_past: bool
    wait_for_past_depends_before_skipping: bool
    wait_for_downstream: bool

    retries: int | None
    retry_delay: timedelta | float
    retry_exponential_backoff: float
    max_retry_delay: timedelta | float | None
    retry_policy: RetryPolicy | None
    execution_timeout: timedelta | None
    sla: timedelta | None

    queue: str
    pool: str | None
    pool_slots: int
    priority_weight: int
    weight_rule: WeightRuleParam
    max_active_tis_per_dag: int | None
    max_active_tis_per_dagrun: int | None
    executor: str | None
    executor_config: dict[str, Any] | None
    resources: dict[str, Any] | None
    run_as_user: str | None

    on_execute_callback: Hooks
    on_failure_callback: Hooks
    on_success_callback: Hooks
    on_retry_callback: Hooks
    on_skipped_callback: Hooks
    pre_execute: Hook | None
    post_execute: Callable[[Any, Any], Any] | None
    email: str | Sequence[str] | None
    email_on_retry: bool
    email_on_failure: bool
    logger_name: str | None
    allow_nested_operators: bool


class WaitingOptions(TaskOptions, total=False):
    """What every task has that can wait: for a step, until whoever makes the same outputs has finished."""

    deferrable: bool | None
    mode: Literal["poke", "reschedule"]
    poke_interval: timedelta | float
    exponential_backoff: bool
    max_wait: timedelta | float | None
    timeout: timedelta | float | None
    soft_fail: bool
    silent_fail: bool
    never_fail: bool


class StepOptions(WaitingOptions, total=False):
    """What a step has that calls a function; the operator says what each keyword means."""

    compute_target: ComputeTarget | str | None
    environment: Environment | str | None
    environment_variables: Mapping[str, str] | None
    source_directory: str | None
    experiment: str | None

    allow_reuse: bool | None
    hash_paths: Sequence[str]
    regenerate_outputs: bool
    reuse_version: str | None
    max_age: timedelta | None
    reuse_scope: Literal["global", "dag"]
    code_scope: Literal["imports", "directory"]
    emit_assets_on_reuse: bool
    azureml_compat: bool | None
