"""The DAG runs that are not over, as Airflow's metadata database knows them."""

from __future__ import annotations

from airflow_mlpipe.errors import MLPipeError


class LiveRunsUnknown(MLPipeError):
    """Airflow's metadata database cannot be asked; the message says why."""


def live_runs() -> frozenset[tuple[str, str]]:
    """DAG and run id of every run that is queued or running.

    Only for commands: a task has no access to the database. Raises LiveRunsUnknown.
    """
    from airflow.models.dagrun import DagRun
    from airflow.sdk.exceptions import AirflowException
    from airflow.utils.session import create_session
    from airflow.utils.state import State
    from sqlalchemy import select
    from sqlalchemy.exc import SQLAlchemyError

    query = select(DagRun.dag_id, DagRun.run_id).where(DagRun.state.in_(State.unfinished_dr_states))
    try:
        with create_session() as session:
            return frozenset((dag_id, run_id) for dag_id, run_id in session.execute(query))
    except (SQLAlchemyError, AirflowException, OSError) as error:
        cause = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise LiveRunsUnknown(
            f"Airflow's metadata database cannot be asked for live DAG runs: {cause}"
        ) from error
