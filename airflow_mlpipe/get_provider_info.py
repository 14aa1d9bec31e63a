"""What Airflow is told of this provider. A plain dict, importing nothing."""

from __future__ import annotations

from typing import Any


def get_provider_info() -> dict[str, Any]:
    """The metadata behind the entry point ``apache_airflow_provider``."""
    return {
        "package-name": "airflow-mlpipe",
        "name": "MLPipe",
        "description": (
            "Machine learning pipelines as Airflow tasks: steps with declared inputs and outputs, each on "
            "its own compute target, whose outputs are reused when nothing that matters changed."
        ),
        "integrations": [{"integration-name": "MLPipe", "tags": ["software"]}],
        "operators": [
            {
                "integration-name": "MLPipe",
                "python-modules": [
                    "airflow_mlpipe.operators.python_script",
                    "airflow_mlpipe.operators.command",
                    "airflow_mlpipe.operators.data_transfer",
                    "airflow_mlpipe.operators.changed_data",
                ],
            }
        ],
        "sensors": [
            {
                "integration-name": "MLPipe",
                "python-modules": [
                    "airflow_mlpipe.sensors.output_reuse",
                    "airflow_mlpipe.sensors.data_change",
                ],
            }
        ],
        "hooks": [{"integration-name": "MLPipe", "python-modules": ["airflow_mlpipe.hooks.datastore"]}],
        "connection-types": [DATASTORE_CONNECTION],
        "triggers": [
            {
                "integration-name": "MLPipe",
                "python-modules": ["airflow_mlpipe.triggers.outputs", "airflow_mlpipe.triggers.data_change"],
            }
        ],
        "task-decorators": [{"name": "mlpipe", "class-name": "airflow_mlpipe.decorators.step.step"}],
        "cli": ["airflow_mlpipe.cli.definition.get_commands"],
        "config": {
            "mlpipe": {
                "description": "Reuse of step outputs: where they are kept and how they are checked.",
                "options": OPTIONS,
            }
        },
    }


def _field(label: str, description: str, *, secret: bool = False) -> dict[str, Any]:
    schema = {"type": ["string", "null"], **({"format": "password"} if secret else {})}
    return {"label": label, "description": description, "schema": schema}


DATASTORE_CONNECTION: dict[str, Any] = {
    "connection-type": "mlpipe_datastore",
    "hook-class-name": "airflow_mlpipe.hooks.datastore.DatastoreHook",
    "hook-name": "MLPipe datastore",
    "ui-field-behaviour": {
        "hidden-fields": ["host", "schema", "port"],
        "relabeling": {
            "login": "Access key, account or user",
            "password": "Secret key, account key or password",
        },
        "placeholders": {},
    },
    "conn-fields": {
        "url": _field(
            "URL",
            "Where the data lies: s3://bucket/prefix, az://container, gs://bucket, sftp://host/folder, "
            "https://host/folder or file:///folder.",
        ),
        "endpoint": _field(
            "Endpoint", "The address of a server that speaks the protocol of S3, Azure or Google."
        ),
        "region": _field("Region", "The region of a bucket of S3."),
        "auth_connection": _field(
            "Connection with the credentials",
            "The id of a connection of type aws, wasb, adls, google_cloud_platform, sftp, ssh or http; its "
            "credentials are used instead of login and password.",
        ),
        "storage_options": _field(
            "Storage options (JSON)", "Further options of the fsspec driver, as a JSON object.", secret=True
        ),
    },
}


def _option(
    description: str, default: str, example: str | None = None, kind: str = "string"
) -> dict[str, Any]:
    return {
        "description": description,
        "version_added": "0.1.0",
        "type": kind,
        "example": example,
        "default": default,
    }


OPTIONS: dict[str, dict[str, Any]] = {
    "datastore": _option(
        "Where outputs, manifests and snapshots are kept: a folder, an fsspec URL, or "
        "'datastore://NAME/prefix' for a datastore with a name. Every worker must reach it, and every worker "
        "must see the same one.",
        "file://{AIRFLOW_HOME}/mlpipe",
        "s3://ml-artifacts/airflow",
    ),
    "namespace": _option(
        "Folder of the datastore that this deployment, or this team, has to itself: only its own steps write "
        "there. Empty is the common one.",
        "",
        "team_vision",
    ),
    "read_datastores": _option(
        "Datastores whose sealed outputs are reused as well and to which nothing is ever written, separated "
        "by commas: URLs, or 'namespace:NAME' for a namespace of the datastore ('namespace:' alone is the "
        "common one). They are looked at in order, after the deployment's own.",
        "",
        "namespace:, s3://ml-artifacts/released",
    ),
    "read_only": _option(
        "Whether this deployment only reads the datastore, as an untrusted one should. What must be run is "
        "then kept in private_datastore, and only this deployment reuses it.",
        "False",
        kind="boolean",
    ),
    "private_datastore": _option(
        "Where a read_only deployment keeps what it makes: a folder or an fsspec URL.",
        "file://{AIRFLOW_HOME}/mlpipe-private",
        "/scratch/mlpipe-private",
    ),
    "signing_key": _option(
        "Where the key is that signs manifests: 'connection:CONN_ID' (its password; older keys in its extra) "
        "or 'variable:KEY'. With it, outputs whose manifest is not signed are not reused. Empty: nothing is "
        "signed or asked for.",
        "",
        "connection:mlpipe_signing",
    ),
    "reuse": _option(
        "What every run may do at most: 'normal', 'refresh' (reuse nothing, store), 'bypass' (neither) or "
        "'read_only' (reuse, store nothing). A run or step may restrict it further.",
        "normal",
        "refresh",
    ),
    "max_age": _option(
        "The oldest that reused outputs may be in this deployment, whatever a step says: a number and s, "
        "min, h or d. Empty is any age.",
        "",
        "90 d",
    ),
    "default_max_age": _option(
        "The max_age of steps that set none: a number and s, min, h or d. Empty is any age.",
        "",
        "30 d",
    ),
    "datastores": _option(
        "Path of the YAML file that names datastores for 'datastore://NAME/path'. A name that is not there "
        "is looked for among the connections of Airflow. A relative path starts at AIRFLOW_HOME.",
        "",
        "/opt/airflow/datastores.yaml",
    ),
    "compute_targets": _option(
        "Path of the YAML file that names the compute targets. The target 'local' is there without it. "
        "A relative path starts at AIRFLOW_HOME.",
        "",
        "/opt/airflow/compute_targets.yaml",
    ),
    "environments": _option(
        "Path of the YAML file that names the environments. A relative path starts at AIRFLOW_HOME.",
        "",
        "/opt/airflow/environments.yaml",
    ),
    "image_builder": _option(
        "URL of the Docker engine that builds the images of environments, and says which image a tag is: "
        "'unix:///path' or 'tcp://host:port'. Empty is the one of DOCKER_HOST, or of the default socket. A "
        "target of type docker has an engine of its own for both.",
        "",
        "tcp://builder.example.com:2376",
    ),
    "image_registry": _option(
        "Repository to which images of environments are sent when they are built, and from which other "
        "machines fetch them. A target of type kubernetes needs it unless its nodes have the images. Empty: "
        "they stay where they are built.",
        "",
        "registry.example.com/team/environments",
    ),
    "image_connections": _option(
        "Ids of connections of type docker, separated by commas: the logins at registries of images. Besides "
        "them counts what 'docker login' left on the worker.",
        "",
        "docker_registry, docker_hub",
    ),
    "work_directory": _option(
        "Folder on the worker in which running steps have their working directories.",
        "{AIRFLOW_HOME}/mlpipe-work",
        "/scratch/mlpipe",
    ),
    "cache_directory": _option(
        "Folder on the worker for what can be made again: file digests, virtual environments.",
        "{AIRFLOW_HOME}/mlpipe-cache",
        "/var/cache/mlpipe",
    ),
    "mount": _option(
        "How a step is shown a remote dataset that it mounts: 'fuse' (read from the server as the step "
        "reads; what cannot be mounted is downloaded, with a warning), 'download' (a read-only copy, whose "
        "files the next step on the machine finds again), or 'auto': 'fuse' where fusepy, libfuse 2 and "
        "/dev/fuse are there, else 'download'.",
        "auto",
        "download",
    ),
    "download_cache_size": _option(
        "How much disk cache_directory may take for files that were downloaded, so that the next step on the "
        "machine finds them; those that were not used for longest go. '0 B' keeps none.",
        "20 GB",
        "500 GB",
    ),
    "keep_work_directories": _option(
        "Whether the working directory of a finished step stays, for debugging.", "False", kind="boolean"
    ),
    "verify": _option(
        "What is checked of stored outputs before they are reused: 'size' (every file is there with its "
        "size), 'digest' (every byte is read again), 'none', or 'auto': 'size' in a remote datastore, and "
        "the content in a local one, where only files are read whose size, times or inode are not as when "
        "they were last hashed.",
        "auto",
        "digest",
    ),
    "lease_seconds": _option(
        "How long a worker that stopped giving signs of life keeps others from running the same step, by "
        "the clock of the datastore. Clocks of workers do not matter.",
        "60",
        kind="integer",
    ),
}
