"""Checks of the datastores that a deployment writes and reads."""

from __future__ import annotations

import time
from pathlib import Path

from airflow_mlpipe.access import DATASTORE
from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.pipeline.doctor.finding import Finding, fail, ok, warn
from airflow_mlpipe.pipeline.settings import Settings, airflow_home
from airflow_mlpipe.pipeline.stores import Stores
from airflow_mlpipe.reuse.phrases import span
from airflow_mlpipe.store.clock import store_time
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.layout import ROOT, manifest_key
from airflow_mlpipe.store.trial import has_coarse_times, has_hard_links, try_out

_NOBODYS = "0" * 64
_NOTICEABLE_SECONDS = 60.0
_TOO_FAR_SECONDS = 3600.0
_ON_ONE_MACHINE = ("LocalExecutor", "SequentialExecutor")


def datastore(settings: Settings) -> Finding:
    """That the deployment's own store can be used in every way that steps use it."""
    store = Stores.open(settings).own
    try_out(store)
    return exactness_finding(_named(settings, store), store.weakness())


def place(settings: Settings) -> Finding:
    """That workers on other machines can see the store."""
    from airflow.sdk.configuration import conf

    executor = conf.get("core", "executor", fallback="LocalExecutor")
    local = Stores.open(settings).own.local_path(ROOT)
    alone = all(name.strip().rpartition(".")[2] in _ON_ONE_MACHINE for name in executor.split(","))
    if local is None or alone or airflow_home() not in local.parents:
        return ok("every worker can be expected to see it")
    return warn(
        f"the datastore lies in this machine's {airflow_home()}, and the executor {executor} has workers on "
        "other machines",
        "set [mlpipe] datastore to an object store, or to a disk that all workers have mounted",
    )


def clock(settings: Settings) -> Finding:
    """That this machine and the store agree on the time."""
    told = store_time(Stores.open(settings).own)
    return clock_finding(None if told is None else time.time() - told)


def disk(settings: Settings) -> Finding:
    """What a disk can and cannot do, when the store is on one."""
    root = Stores.open(settings).own.local_path(ROOT)
    if root is None:
        return ok("the datastore is on no disk of this machine")
    return disk_finding(root, has_links=has_hard_links(root), has_coarse=has_coarse_times(root))


def other_datastores(settings: Settings) -> Finding:
    """That what is only read can be read."""
    others = Stores.open(settings).others
    for store in others:
        local = store.local_path(ROOT)
        if local is not None and not local.parents[1].is_dir():
            return fail(f"{store.url} does not exist", "mount it, or correct [mlpipe] read_datastores")
        try:
            store.read(manifest_key(_NOBODYS))
        except StoreError as error:
            return fail(str(error), "let this user read it, or correct [mlpipe] read_datastores")
    return ok(", ".join(f"{store.url} can be read" for store in others) or "none are read")


def _named(settings: Settings, store: Datastore) -> str:
    """The URL of the deployment's *store*, with the name of a datastore that led there."""
    option = settings.private_datastore if settings.read_only else settings.datastore
    return f"{store.url} ({option})" if option.startswith(DATASTORE) else store.url


def exactness_finding(store: str, weakness: str | None) -> Finding:
    """What to say of *store*, which can be used; *weakness* as :meth:`Datastore.weakness` tells it."""
    if weakness is None:
        return ok(f"{store}: read, written, created exclusively, swapped, listed and deleted")
    return warn(
        f"{store}: two workers within the same moment may both run a step, because {weakness}",
        "nothing needs to be done, outputs are right all the same; a newer server spares the work",
    )


def clock_finding(ahead: float | None) -> Finding:
    """What to say of a machine whose clock is *ahead* seconds before that of the store; None is not known."""
    if ahead is None:
        return warn(
            "its driver does not tell when files were written", "keep the clocks of workers right (NTP)"
        )
    direction = "ahead of" if ahead > 0 else "behind"
    if abs(ahead) < _NOTICEABLE_SECONDS:
        return ok(f"agrees with this machine's to within {span(max(1.0, abs(ahead)))}")
    said = f"this machine is {span(abs(ahead))} {direction} the datastore, which falsifies max_age and ages"
    return (fail if abs(ahead) >= _TOO_FAR_SECONDS else warn)(said, "set the clock, and keep it by NTP")


def disk_finding(root: Path, *, has_links: bool, has_coarse: bool) -> Finding:
    """What to say of the disk at *root*."""
    if not has_links:
        return warn(
            f"{root} has no hard links, so that manifests are created under a lock",
            "see that locks work across machines: mount NFS version 4, or version 3 with its lock service",
        )
    if has_coarse:
        return warn(
            f"{root} tells times in whole seconds, so that young files are hashed again",
            "nothing needs to be done; a disk with finer times spares the work",
        )
    return ok("has hard links and fine times")
