"""``airflow mlpipe model``: lists, shows, registers and downloads models."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from airflow_mlpipe.cli.command import command, results, say
from airflow_mlpipe.cli.registered import print_names, print_registered, print_version
from airflow_mlpipe.pipeline.registered import find
from airflow_mlpipe.pipeline.settings import Settings
from airflow_mlpipe.pipeline.stores import Stores
from airflow_mlpipe.store.progress import Progress
from airflow_mlpipe.store.registry import ModelVersion, Registry
from airflow_mlpipe.store.retrieval import retrieve


@command
def list_all(args: Namespace) -> None:
    """List all names with their latest versions."""
    print_names(Stores.open(Settings.read()), ModelVersion, args.output)


@command
def show(args: Namespace) -> None:
    """Show one version."""
    found = find(Stores.open(Settings.read()), ModelVersion, args.name, args.version)
    versions = Registry(found.datastore, ModelVersion).versions(args.name)
    print_version(found, versions, found.datastore.uri(found.version.files.key), args.output)


@command
def register(args: Namespace) -> None:
    """Copy the file or folder, and register it."""
    from airflow_mlpipe.pipeline.registering import register_model

    labels = {"tags": dict(args.tag), "properties": dict(args.property)}
    print_registered(
        register_model(args.name, args.path, description=args.description, **labels), args.output
    )


@command
def download(args: Namespace) -> None:
    """Fetch the files of one version, and print where they are."""
    found = find(Stores.open(Settings.read()), ModelVersion, args.name, args.version)
    files = found.version.files
    destination = Path(args.to) / files.key.rpartition("/")[2]
    progress = Progress(f"downloading {found.version}", say)
    retrieve(found.datastore, files, destination, progress, replace=args.force)
    with results():
        print(destination)
