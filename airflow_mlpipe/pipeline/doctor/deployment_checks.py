"""Checks of what Airflow knows: options, the parts of this provider, its database."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from airflow_mlpipe.errors import DefinitionError
from airflow_mlpipe.get_provider_info import OPTIONS, get_provider_info
from airflow_mlpipe.model.compute_targets import parse_targets
from airflow_mlpipe.model.datastore import parse_datastores
from airflow_mlpipe.model.environment import parse_environments
from airflow_mlpipe.pipeline.doctor.finding import Finding, fail, ok, warn
from airflow_mlpipe.pipeline.live_runs import LiveRunsUnknown, live_runs
from airflow_mlpipe.pipeline.settings import Settings
from airflow_mlpipe.pipeline.signing import keyring_at
from airflow_mlpipe.version import __version__

_SHORT_LEASE_SECONDS = 10
_VARIABLE = "AIRFLOW__MLPIPE__"
_REINSTALL = "install airflow-mlpipe again in this environment, with pip or uv, and not by copying files"


def options(settings: Settings) -> Finding:
    """That no option is misspelt, and none has a value that undoes reuse by accident."""
    if unknown := sorted(_given_options() - set(OPTIONS)):
        return fail(
            f"[mlpipe] has no option {', '.join(unknown)}",
            f"correct the name; there are {', '.join(OPTIONS)}",
        )
    doubts = list(_doubts(settings))
    if doubts:
        return warn("; ".join(doubts), "leave it so if it is meant; docs: reference/configuration")
    return ok("all values can be read")


def provider(settings: Settings) -> Finding:
    """That Airflow has found the provider, in this version."""
    name = get_provider_info()["package-name"]
    found = _providers().providers.get(name)
    if found is None:
        return fail(f"Airflow does not list the provider {name}", _REINSTALL)
    if found.version != __version__:
        return fail(f"{name} {found.version} is installed, {__version__} is imported", _REINSTALL)
    return ok(f"{name} {__version__}")


def plugin(settings: Settings) -> Finding:
    """That the plugin is loaded, without which DAGs cannot read references from XCom."""
    from airflow.plugins_manager import get_import_errors, get_plugin_info

    with warnings.catch_warnings():
        # Loading all plugins imports Airflow's API server, which has warnings of its own for its authors.
        warnings.simplefilter("ignore")
        names = {info["name"] for info in get_plugin_info(["name"])}
    if "mlpipe" in names:
        return ok("loaded")
    problems = [f"{name}: {problem}" for name, problem in get_import_errors().items() if "mlpipe" in name]
    return fail("; ".join(["Airflow has not loaded the plugin mlpipe", *problems]), _REINSTALL)


def command_line(settings: Settings) -> Finding:
    """That ``airflow mlpipe`` is known to Airflow."""
    known = {f"{function.__module__}.{function.__name__}" for function in _providers().cli_command_functions}
    if set(get_provider_info()["cli"]) <= known:
        return ok("airflow mlpipe is there")
    return fail("Airflow does not know the commands of this provider", _REINSTALL)


def metadata_database(settings: Settings) -> Finding:
    """That the runs which are not over can be asked for: ``gc`` leaves alone what they use."""
    try:
        return ok(f"answers; {len(live_runs())} DAG runs are not over")
    except LiveRunsUnknown as error:
        return warn(
            f"{error}", "workers need none; run `airflow mlpipe gc` where [database] sql_alchemy_conn is set"
        )


def waiting(settings: Settings) -> Finding:
    """That somebody wakes the steps that wait for others."""
    from airflow.sdk.configuration import conf

    if not conf.getboolean("operators", "default_deferrable", fallback=False):
        return ok("steps wait by looking again every poke_interval; they need no triggerer")
    from airflow.jobs.job import most_recent_job
    from sqlalchemy.exc import SQLAlchemyError

    try:
        job = most_recent_job("TriggererJob")
    except SQLAlchemyError:
        return warn(
            "steps wait in the triggerer, and the metadata database does not tell whether one runs",
            "see that `airflow triggerer` runs",
        )
    if job is not None and job.is_alive():
        return ok("steps wait in the triggerer, which runs")
    return fail(
        "[operators] default_deferrable is True, and no triggerer runs: steps that wait are not woken",
        "start `airflow triggerer`, or set the option to False",
    )


def datastores(settings: Settings) -> Finding:
    """That the file of datastores can be read."""
    return _named(settings.datastores, "datastores", parse_datastores)


def compute_targets(settings: Settings) -> Finding:
    """That the file of compute targets can be read."""
    return _named(settings.compute_targets, "compute_targets", parse_targets)


def environments(settings: Settings) -> Finding:
    """That the file of environments can be read."""
    return _named(settings.environments, "environments", parse_environments)


def signing_key(settings: Settings) -> Finding:
    """That the key is there and long enough; nothing of it is told."""
    if not settings.signing_key:
        return ok("manifests are not signed")
    keyring_at(settings.signing_key)
    return ok(f"there is one in {settings.signing_key}")


def _given_options() -> set[str]:
    from airflow.sdk.configuration import conf

    in_environment = {name.removeprefix(_VARIABLE) for name in os.environ if name.startswith(_VARIABLE)}
    in_files = conf.getsection("mlpipe") or {}
    names = {name.lower() for name in (*in_environment, *in_files)}
    # A value may also come from a command or a secrets backend, whose options end so.
    return {name.removesuffix("_cmd").removesuffix("_secret") for name in names}


def _doubts(settings: Settings) -> Iterator[str]:
    if settings.reuse != "normal":
        yield f"reuse is {settings.reuse}, so no run of this deployment does more than that"
    if settings.verify == "none":
        yield "verify is none, so deleted outputs are handed on as if they were there"
    if settings.lease_seconds < _SHORT_LEASE_SECONDS:
        yield f"lease_seconds is {settings.lease_seconds:g}, so a short pause of a worker loses its lease"


def _providers() -> Any:
    from airflow.providers_manager import ProvidersManager

    return ProvidersManager()  # type: ignore[no-untyped-call]


def _named(path: Path | None, option: str, parse: Callable[[str, str], Mapping[str, object]]) -> Finding:
    if path is None:
        return ok("no file is named")
    try:
        found = parse(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        return fail(
            f"{path} cannot be read: {error}", f"correct [mlpipe] {option}, or make the file readable"
        )
    except DefinitionError as error:
        return fail(str(error), f"correct {path}")
    return ok(f"{path} has {', '.join(sorted(found)) or 'none'}")
