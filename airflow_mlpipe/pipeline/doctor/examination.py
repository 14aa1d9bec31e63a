"""The checks of an installation, made on the machine where they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from airflow_mlpipe.errors import MLPipeError
from airflow_mlpipe.pipeline.doctor import compute_checks, deployment_checks, machine_checks, store_checks
from airflow_mlpipe.pipeline.doctor.finding import Finding
from airflow_mlpipe.pipeline.settings import Settings

Check = Callable[[Settings], Finding]

CHECKS: Mapping[str, Check] = {
    "options": deployment_checks.options,
    "provider": deployment_checks.provider,
    "plugin": deployment_checks.plugin,
    "command line": deployment_checks.command_line,
    "metadata database": deployment_checks.metadata_database,
    "waiting": deployment_checks.waiting,
    "datastores file": deployment_checks.datastores,
    "compute targets": deployment_checks.compute_targets,
    "environments": deployment_checks.environments,
    "signing key": deployment_checks.signing_key,
    "datastore": store_checks.datastore,
    "datastore's place": store_checks.place,
    "datastore's clock": store_checks.clock,
    "datastore's disk": store_checks.disk,
    "other datastores": store_checks.other_datastores,
    "folders": machine_checks.folders,
    "free space": machine_checks.free_space,
    "hash cache": machine_checks.hash_cache,
    "Python": machine_checks.python,
    "uv": machine_checks.uv,
    "Docker": machine_checks.docker,
    "Kubernetes": machine_checks.kubernetes,
    "targets answer": compute_checks.answers,
    "image builder": compute_checks.image_builder,
}


def examine(checks: Mapping[str, Check] = CHECKS) -> dict[str, Finding]:
    """What each check finds, by its name. A check that raises is a FAIL; so are options that cannot be read,
    and then nothing else is checked."""
    try:
        settings = Settings.read()
    except Exception as error:
        return {"options": _failure(error)}
    return {name: _made(check, settings) for name, check in checks.items()}


def _made(check: Check, settings: Settings) -> Finding:
    try:
        return check(settings)
    except Exception as error:  # whatever a driver or a client library raises
        return _failure(error)


def _failure(error: Exception) -> Finding:
    """The sentence of our own errors ends in what to do."""
    if isinstance(error, MLPipeError):
        said, _, mend = str(error).rpartition("; ")
        return Finding("FAIL", said or mend, mend if said else "")
    return Finding("FAIL", f"the check itself failed: {type(error).__name__}: {error}", "")
