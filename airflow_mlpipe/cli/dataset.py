"""``airflow mlpipe dataset``: lists, shows and registers datasets."""

from __future__ import annotations

from argparse import Namespace

from airflow_mlpipe.cli.command import command
from airflow_mlpipe.cli.registered import print_names, print_registered, print_version
from airflow_mlpipe.model.dataset import Dataset, SourceDataset
from airflow_mlpipe.pipeline.registered import Found, find
from airflow_mlpipe.pipeline.settings import Settings
from airflow_mlpipe.pipeline.stores import Stores
from airflow_mlpipe.store.registry import DatasetVersion, Registry


@command
def list_all(args: Namespace) -> None:
    """List all names with their latest versions."""
    print_names(Stores.open(Settings.read()), DatasetVersion, args.output)


@command
def show(args: Namespace) -> None:
    """Show one version."""
    found = find(Stores.open(Settings.read()), DatasetVersion, args.name, args.version)
    versions = Registry(found.datastore, DatasetVersion).versions(args.name)
    print_version(found, versions, _places(found), args.output)


@command
def register(args: Namespace) -> None:
    """Register what lies at the paths now."""
    from airflow_mlpipe.pipeline.registering import register_dataset

    done = register_dataset(_declared(args), args.name, description=args.description, tags=dict(args.tag))
    print_registered(done, args.output)


def _declared(args: Namespace) -> SourceDataset:
    if args.table == "delimited":
        return Dataset.Tabular.from_delimited_files(
            args.paths, separator=args.separator, identity=args.identity
        )
    if args.table == "parquet":
        return Dataset.Tabular.from_parquet_files(args.paths, identity=args.identity)
    if args.table == "json-lines":
        return Dataset.Tabular.from_json_lines_files(args.paths, identity=args.identity)
    return Dataset.File.from_files(args.paths, identity=args.identity)


def _places(found: Found[DatasetVersion]) -> str:
    version = found.version
    if version.output is not None:
        return f"{version.store or found.datastore.url}/{version.output.key}"
    return ", ".join((version.declared or {}).get("paths", ()))
