"""The web app below ``/mlpipe``: documents of the datastore for people who may see the DAG."""

# No postponed annotations: FastAPI reads them when the routes are defined.
from typing import Annotated, Any

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import requires_access_dag
from fastapi import Depends, FastAPI, HTTPException, Path

from airflow_mlpipe.errors import DocumentError, MLPipeError
from airflow_mlpipe.pipeline.settings import Settings
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.manifest import ManifestMissing, read_manifest

app = FastAPI(title="MLPipe", description="Manifests of step outputs.")


@app.get(
    "/dags/{dag_id}/manifests/{fingerprint}",
    dependencies=[Depends(requires_access_dag("GET", DagAccessEntity.RUN))],
)
def manifest(dag_id: str, fingerprint: Annotated[str, Path(pattern="^[0-9a-f]{64}$")]) -> dict[str, Any]:
    """The manifest of outputs that *dag_id* has made, to those who may see its runs."""
    try:
        found = read_manifest(Datastore.open(Settings.read().datastore), fingerprint)
    except ManifestMissing as error:
        raise HTTPException(404, str(error)) from error
    except DocumentError as error:
        raise HTTPException(409, str(error)) from error
    except MLPipeError as error:
        raise HTTPException(503, str(error)) from error
    if found.producer.dag_id != dag_id:
        raise HTTPException(404, f"DAG {dag_id!r} has made no outputs with fingerprint {fingerprint}")
    return found.model_dump(mode="json")
