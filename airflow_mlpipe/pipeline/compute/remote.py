"""The driver and the environments of a machine that is reached by SSH, through Airflow's SSH provider."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from airflow_mlpipe.errors import TargetError
from airflow_mlpipe.model.remote_target import RemoteTarget
from airflow_mlpipe.pipeline.settings import Settings
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.targets.attempt_records import AttemptRecords
from airflow_mlpipe.targets.runtime_bundle import runtime_bundle

if TYPE_CHECKING:
    import paramiko

    from airflow_mlpipe.targets.remote.driver import RemoteDriver
    from airflow_mlpipe.targets.remote.environments import RemoteEnvironments
    from airflow_mlpipe.targets.remote.machine import Machine

CONNECT_SECONDS = 10  # unless the connection says otherwise


def remote_driver(target: RemoteTarget, settings: Settings, datastore: Datastore) -> RemoteDriver:
    """What runs attempts on *target*; their records are kept in *datastore*.

    Raises TargetError when the SSH provider is not installed or the connection cannot be used.
    """
    connect = _connect_to(target)
    from airflow_mlpipe.targets.remote.driver import RemoteDriver

    runtime = runtime_bundle(settings.cache_directory)
    return RemoteDriver(connect, target, runtime, AttemptRecords(datastore), _machine(target))


def remote_environments(target: RemoteTarget) -> RemoteEnvironments:
    """What describes the interpreter of *target*; raises as :func:`remote_driver`."""
    machine = _machine(target)
    from airflow_mlpipe.targets.remote.environments import RemoteEnvironments

    return RemoteEnvironments(machine, target.python)


def remote_root(target: RemoteTarget, attempt: str) -> PurePosixPath:
    """The absolute path of the folder in which *attempt* lives on the machine of *target*.

    Asks the machine, as only it knows its user's home. Raises TargetError or InfrastructureError.
    """
    if target.folder.startswith("/"):
        return PurePosixPath(target.folder, attempt)
    look = _machine(target).ask("attempts", {"verb": "look", "folder": f"{target.folder}/{attempt}"})
    return PurePosixPath(look["folder"])


def ask_machine(target: RemoteTarget, seconds: float) -> None:
    """See that the machine of *target* has its interpreter; it is tried again for some *seconds*.

    Raises TargetError when it has not, or cannot be used, and InfrastructureError when it is not reached.
    """
    connect = _connect_to(target)
    from airflow_mlpipe.targets.remote.driver import machine_of

    machine = machine_of(target, connect, patience=seconds)
    try:
        machine.ask("attempts", {"verb": "look", "folder": target.folder})
    finally:
        machine.close()


@cache
def _machine(target: RemoteTarget) -> Machine:
    """The machine of *target*, whose connection serves all that this process asks."""
    connect = _connect_to(target)
    from airflow_mlpipe.targets.remote.driver import machine_of

    return machine_of(target, connect)


def _connect_to(target: RemoteTarget) -> Callable[[], paramiko.SSHClient]:
    """What opens a connection to the machine of *target*."""
    try:
        import airflow.providers.ssh.hooks.ssh  # noqa: F401 - whether it is there
    except ImportError as error:
        raise TargetError(
            f"compute target {target.name!r} is reached by SSH, and the SSH provider is not installed here "
            f"({error}); install airflow-mlpipe[ssh] on the workers"
        ) from error
    return partial(_connection, target)


def _connection(target: RemoteTarget) -> paramiko.SSHClient:
    from airflow.providers.common.compat.sdk import AirflowException
    from airflow.providers.ssh.hooks.ssh import SSHHook
    from airflow.sdk.exceptions import AirflowRuntimeError

    try:
        hook = SSHHook(ssh_conn_id=target.ssh_conn_id, conn_retry_attempts=1)
    except (AirflowException, AirflowRuntimeError, ValueError) as error:
        raise TargetError(
            f"the connection {target.ssh_conn_id!r} of compute target {target.name!r} cannot be used: "
            f"{error}; add a connection of type ssh with a host and a login, or correct ssh_conn_id"
        ) from error
    hook.conn_timeout = hook.conn_timeout or CONNECT_SECONDS
    return hook.get_conn()
