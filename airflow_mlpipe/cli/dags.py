"""Finding the DAG that a command names, and reading its file."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from airflow.dag_processing.bundles.manager import DagBundlesManager
from airflow.dag_processing.dagbag import BundleDagBag
from airflow.exceptions import AirflowConfigException
from airflow.sdk.definitions._internal.dag_parsing_context import _airflow_parsing_context_manager
from sqlalchemy.exc import SQLAlchemyError

from airflow_mlpipe.errors import DefinitionError, NotFoundError


def find_dag(dag_id: str, bundle_names: Sequence[str] = ()) -> Any:
    """The DAG *dag_id*, read from its file: in one of *bundle_names*, or in any bundle of the configuration.

    Where Airflow's database knows the file, only that one is read; without a database, or when it has moved,
    all files of the bundles are. Raises NotFoundError.
    """
    bundles = _bundles(bundle_names)
    for bundle in bundles:
        bundle.initialize()
        known = _known_file(dag_id, bundle.name)
        file = None if known is None else bundle.path / known
        if file is not None and file.is_file():
            dag = _bag(dag_id, file, bundle.path, bundle.name).dags.get(dag_id)
            if dag is not None:
                return dag
    errors: dict[str, str] = {}
    for bundle in bundles:
        bag = _bag(dag_id, bundle.path, bundle.path, bundle.name)
        if dag_id in bag.dags:
            return bag.dags[dag_id]
        errors.update(bag.import_errors)
    where = ", ".join(bundle.name for bundle in bundles) or "none is configured"
    raise NotFoundError(f"no DAG {dag_id!r} is in the bundles ({where}){_told(errors)}")


def dag_in_file(dag_id: str, file: Path) -> Any:
    """The DAG *dag_id* of *file*, without a look at Airflow's database.

    Imports start at the folder of the configured bundle that holds the file, else at the file's own folder.
    Raises NotFoundError when it is not there, DefinitionError when the file cannot be imported.
    """
    path = file.resolve()
    if not path.is_file():
        raise NotFoundError(f"no file is at {file}; give the path of the DAG file")
    bundle = next((one for one in _bundles() if one.path.resolve() in path.parents), None)
    root, name = (path.parent, None) if bundle is None else (bundle.path, bundle.name)
    bag = _bag(dag_id, path, root, name)
    if dag_id in bag.dags:
        return bag.dags[dag_id]
    if bag.import_errors:
        raise DefinitionError(f"no DAG {dag_id!r} could be read{_told(bag.import_errors)}")
    known = ", ".join(sorted(bag.dags)) or "none"
    raise NotFoundError(f"no DAG {dag_id!r} is in {file}; it has {known}")


def _bundles(names: Sequence[str] = ()) -> list[Any]:
    try:
        manager = DagBundlesManager()
        return [manager.get_bundle(name) for name in names] or list(manager.get_all_dag_bundles())
    except ValueError as error:
        raise NotFoundError(f"{error} See [dag_processor] dag_bundle_config_list.") from error
    except AirflowConfigException as error:
        raise DefinitionError(f"the DAG bundles are not known: {error}; correct that option") from error


def _bag(dag_id: str, file: Path, root: Path, bundle_name: str | None) -> BundleDagBag:
    # DAG files that make many DAGs may make only the one that is asked for.
    # What a DAG file prints is no result of a command.
    with contextlib.redirect_stdout(sys.stderr), _airflow_parsing_context_manager(dag_id=dag_id):
        return BundleDagBag(str(file), bundle_path=root, bundle_name=bundle_name)


def _known_file(dag_id: str, bundle_name: str) -> str | None:
    """The DAG's file below its bundle, by Airflow's database; None when that does not know."""
    from airflow.models.dag import DagModel
    from airflow.utils.session import create_session

    try:
        with create_session() as session:
            known = session.get(DagModel, dag_id)
            return known.relative_fileloc if known is not None and known.bundle_name == bundle_name else None
    except SQLAlchemyError:
        return None


def _told(errors: dict[str, str]) -> str:
    """The import errors, as the end of a sentence: the last line of each traceback."""
    last_lines = (f"{file}: {error.strip().splitlines()[-1]}" for file, error in sorted(errors.items()))
    return "; these files could not be imported: " + "; ".join(last_lines) if errors else ""
