"""The web app below ``/mlpipe``: documents of the datastore for people who may see the DAG."""

# No postponed annotations: FastAPI reads them when the routes are defined.
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, NamedTuple

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from fastapi import Depends, FastAPI, HTTPException, Path

from airflow_mlpipe.errors import DocumentError, MLPipeError, NotFoundError
from airflow_mlpipe.pipeline.explaining.explain import explain
from airflow_mlpipe.pipeline.explaining.instances import instances_of
from airflow_mlpipe.pipeline.settings import Settings
from airflow_mlpipe.pipeline.stores import Stores
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.invalidation import Invalidations
from airflow_mlpipe.store.layout import manifest_key
from airflow_mlpipe.store.manifest import Manifest, parse_manifest

app = FastAPI(title="MLPipe", description="Manifests of step outputs, and why steps ran.")

Fingerprint = Annotated[str, Path(pattern="^[0-9a-f]{64}$")]


@app.get(
    "/dags/{dag_id}/manifests/{fingerprint}",
    dependencies=[Depends(requires_access_dag("GET", DagAccessEntity.RUN))],
)
def manifest(dag_id: str, fingerprint: Fingerprint) -> dict[str, Any]:
    """The manifest of outputs that *dag_id* has made, to those who may see its runs."""
    with _mistakes_as_answers():
        found = _sealed(Stores.open(Settings.read()), dag_id, fingerprint)
        return found.manifest.model_dump(mode="json")


@app.delete(
    "/dags/{dag_id}/manifests/{fingerprint}",
    dependencies=[Depends(requires_access_dag("PUT", DagAccessEntity.RUN))],
)
def invalidate(dag_id: str, fingerprint: Fingerprint, user: GetUserDep, reason: str = "") -> dict[str, Any]:
    """Take outputs that *dag_id* has made out of use, for those who may change its runs.

    The next run makes them again, and says who wanted it and why. Outputs in a datastore that is only read
    stay there; this deployment does not use them any more.
    """
    with _mistakes_as_answers():
        stores = Stores.open(Settings.read())
        found = _sealed(stores, dag_id, fingerprint)
        said = Invalidations(stores.own)
        step = found.manifest.producer.step
        if found.datastore is not stores.own:
            said.distrust(fingerprint, user.get_name(), reason)
        elif not said.invalidate(fingerprint, user.get_name(), reason, seen=found.seen):
            raise NotFoundError(f"the outputs of {step} were withdrawn or made again meanwhile")
        return {"schema_version": 1, "invalidated": fingerprint, "step": step}


@app.get(
    "/dags/{dag_id}/runs/{run_id}/tasks/{task_id}/explanation",
    dependencies=[
        Depends(requires_access_dag("GET", DagAccessEntity.RUN)),
        Depends(requires_access_dag("GET", DagAccessEntity.CODE)),
    ],
)
def explanation(
    dag_id: str, run_id: str, task_id: str, map_index: int = -1, against: str | None = None
) -> dict[str, Any]:
    """Why a task instance ran or was reused, to those who may see the runs of its DAG, and its code.

    They may not be allowed to see other DAGs, so of upstream steps in these only the ids are told.
    """
    with _mistakes_as_answers():
        found = explain(
            dag_id, run_id, task_id, map_index, against=against, may_see=lambda other: other == dag_id
        )
        return found.as_document()


@app.get(
    "/dags/{dag_id}/runs/{run_id}/tasks/{task_id}/instances",
    dependencies=[Depends(requires_access_dag("GET", DagAccessEntity.RUN))],
)
def instances(dag_id: str, run_id: str, task_id: str) -> dict[str, Any]:
    """What the instances of a mapped task did, and why, to those who may see the runs of its DAG."""
    with _mistakes_as_answers():
        return instances_of(dag_id, run_id, task_id).as_document()


@contextmanager
def _mistakes_as_answers() -> Iterator[None]:
    try:
        yield
    except NotFoundError as error:
        raise HTTPException(404, str(error)) from error
    except DocumentError as error:
        raise HTTPException(409, str(error)) from error
    except MLPipeError as error:
        raise HTTPException(503, str(error)) from error


class _Sealed(NamedTuple):
    """A manifest, where it lies, and the bytes that it is there."""

    datastore: Datastore
    seen: bytes
    manifest: Manifest


def _sealed(stores: Stores, dag_id: str, fingerprint: str) -> _Sealed:
    """The first manifest that *dag_id* has made.

    NotFoundError when there is none; DocumentError when there is none but one that is unusable.
    """
    unusable: DocumentError | None = None
    for datastore in stores:
        seen = datastore.read(manifest_key(fingerprint))
        if seen is None:
            continue
        try:
            manifest = parse_manifest(seen, fingerprint, stores.keyring)
        except DocumentError as error:
            unusable = unusable or error
        else:
            if manifest.producer.dag_id == dag_id:
                return _Sealed(datastore, seen, manifest)
    raise unusable or NotFoundError(f"DAG {dag_id!r} has made no outputs with fingerprint {fingerprint}")
