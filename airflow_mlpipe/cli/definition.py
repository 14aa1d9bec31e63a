"""The commands below ``airflow mlpipe`` and their arguments.

Every ``airflow`` command imports this module, so that it loads nothing but Airflow's own words for commands;
what a command does is imported when it runs.
"""

from __future__ import annotations

from argparse import ArgumentTypeError

from airflow.cli.cli_config import (
    ARG_BUNDLE_NAME,
    ARG_LOGICAL_DATE,
    ARG_VERBOSE,
    ActionCommand,
    Arg,
    GroupCommand,
    lazy_load_command,
    positive_int,
)

_OUTPUT = Arg(
    ("-o", "--output"),
    help="How the result is printed (default: table)",
    choices=("table", "json", "yaml"),
    default="table",
)
_DAG = Arg(("dag_id",), help="The id of the DAG")
_YES = Arg(("-y", "--yes"), action="store_true", help="Do it; without this, only say what would be done")
_STEP_MEANS = "a fingerprint, its first 8 or more digits, or DAG/RUN/TASK, with [INDEX] for a mapped task"
_STEP = Arg(("step",), metavar="STEP", help=f"Which outputs: {_STEP_MEANS}")
_STEPS = Arg(("step",), metavar="STEP", nargs="*", help=f"Which outputs: {_STEP_MEANS}")


def _span(text: str) -> float:
    """A length of time on the command line, in seconds."""
    from airflow_mlpipe.pipeline.settings import parse_span

    if (seconds := parse_span(text)) is None:
        raise ArgumentTypeError(f"{text!r} is no length of time; write a number and s, min, h or d: 30 d")
    return seconds


def _size(text: str) -> int:
    """An amount of data on the command line, in bytes."""
    from airflow_mlpipe.store.progress import parse_size

    if (size := parse_size(text)) is None:
        raise ArgumentTypeError(f"{text!r} is no amount of data; write a number and kB, MB, GB or TB: 500 GB")
    return size


def _pair(text: str) -> tuple[str, str]:
    """``key=value`` on the command line."""
    key, separator, value = _text(text).partition("=")
    if not key or not separator:
        raise ArgumentTypeError(f"{text!r} is no pair; write key=value")
    return key, value


def _version(text: str) -> int | str:
    """The version of a registered dataset or model on the command line."""
    from airflow_mlpipe.errors import DefinitionError
    from airflow_mlpipe.model.registered import checked_version

    try:
        return checked_version(text)
    except DefinitionError as error:
        raise ArgumentTypeError(str(error)) from error


def _text(text: str) -> str:
    """What is kept as it was typed, and so must be text."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ArgumentTypeError(f"{text!r} is not valid UTF-8; type it anew") from error
    return text


def get_commands() -> list[GroupCommand]:
    """What the provider's metadata names under ``cli``."""
    return [
        GroupCommand(
            name="mlpipe",
            help="Plan, explain and tend the reuse of step outputs",
            subcommands=[
                _PLAN,
                _EXPLAIN,
                _RUNS,
                _SHOW,
                _OUTPUTS,
                _DOWNLOAD,
                _VERIFY,
                _INVALIDATE,
                _GC,
                _DATASET,
                _MODEL,
                _TARGET,
                _ENVIRONMENT,
                _DOCTOR,
                _TRANSFER,
            ],
        )
    ]


def _command(
    name: str, help: str, args: tuple[Arg, ...], *examples: str, body: str | None = None
) -> ActionCommand:
    """A command; *examples* end its ``--help``.

    Its *body* is a function of a module of this package, by default ``run`` in the module of its name.
    """
    return ActionCommand(
        name=name,
        help=help,
        func=lazy_load_command(f"airflow_mlpipe.cli.{body or f'{name}.run'}"),
        args=args,
        epilog="examples:\n" + "\n".join(f"  airflow mlpipe {example}" for example in examples),
    )


_PLAN = _command(
    "plan",
    "Say what a run of a DAG would do with each step, and why, without running anything",
    (
        _DAG,
        ARG_BUNDLE_NAME,
        Arg(("--dag-file",), metavar="PATH", help="Read the DAG from this file; needs no Airflow database"),
        Arg(("-c", "--conf"), metavar="JSON", help="The run's configuration: its params and mlpipe switches"),
        ARG_LOGICAL_DATE,
        Arg(("--exit-code",), action="store_true", help="Exit with 3 unless every step would be reused"),
        _OUTPUT,
        ARG_VERBOSE,
    ),
    "plan retrain_digits",
    """plan retrain_digits --conf '{"lr": 0.2}' --exit-code""",
    "plan retrain_digits --dag-file dags/retrain_digits.py -o json",
)
_EXPLAIN = _command(
    "explain",
    "Say why a step ran or was reused: what changed, with diffs of code, and in which step it began",
    (
        _DAG,
        Arg(("run_id",), help="The id of the run"),
        Arg(("task_id",), help="The id of the task; TASK[INDEX] is one instance of a mapped task"),
        Arg(("--map-index",), type=int, default=-1, help="Which instance (default: all are summed up)"),
        Arg(
            ("--against",),
            metavar="RUN",
            help="The run to compare with (default: the one the decision rests on)",
        ),
        _OUTPUT,
    ),
    "explain retrain_digits manual__2026-11-02 train",
    "explain retrain_digits manual__2026-11-02 train --against manual__2026-10-26",
    "explain score_shards manual__2026-11-02 'score[17]'",
)
_RUNS = _command(
    "runs",
    "List what the steps of a DAG decided and made, newest first",
    (
        _DAG,
        Arg(("task_id",), nargs="?", help="Only this task"),
        Arg(
            ("--limit",),
            type=positive_int(allow_zero=True),
            default=20,
            help="How many at most, 0 for all (default: 20)",
        ),
        _OUTPUT,
    ),
    "runs retrain_digits",
    "runs retrain_digits train --limit 5 -o json",
)
_SHOW = _command(
    "show",
    "Show the manifest of a step's outputs: what was made, from what, by whom and when",
    (_STEP, _OUTPUT),
    "show retrain_digits/manual__2026-11-02/train",
    "show 3fa9c2d4e1 -o json",
)
_OUTPUTS = _command(
    "outputs",
    "List the outputs of a step: where they lie, how large they are, and their digests",
    (_STEP, Arg(("--files",), action="store_true", help="List the files of folders too"), _OUTPUT),
    "outputs retrain_digits/manual__2026-11-02/train",
    "outputs 3fa9c2d4e1 --files -o yaml",
)
_DOWNLOAD = _command(
    "download",
    "Fetch outputs of a step; every byte is compared with the digest in the manifest",
    (
        _STEP,
        Arg(("--name",), help="Only the output of this name"),
        Arg(("--to",), default=".", help="The folder to put them into (default: the current one)"),
        Arg(("--force",), action="store_true", help="Replace what is there"),
    ),
    "download retrain_digits/manual__2026-11-02/train --name model --to /tmp",
)
_VERIFY = _command(
    "verify",
    "Hold what is stored against its manifests; exits with 1 when something is damaged",
    (
        _STEPS,
        Arg(("--dag",), help="Only what this DAG made"),
        Arg(
            ("--level",),
            choices=("size", "digest"),
            default="size",
            help="size: every file is there with its size (default); digest: every byte is read",
        ),
        Arg(("--withdraw",), action="store_true", help="Withdraw the manifests of what is damaged"),
        _YES,
        _OUTPUT,
    ),
    "verify",
    "verify --dag retrain_digits --level digest",
    "verify --withdraw --yes",
)
_INVALIDATE = _command(
    "invalidate",
    "Take outputs out of use, so that their steps run again, and say why",
    (
        _STEPS,
        Arg(("--dag",), help="Only what steps of this DAG made or reused"),
        Arg(("--task",), help="Only what tasks of this id made or reused"),
        Arg(("--older-than",), metavar="SPAN", type=_span, help="Only what was made longer ago: 12 h, 30 d"),
        Arg(
            ("--reason",),
            type=_text,
            default="",
            help="Why, in a few words: the next runs say it in their logs",
        ),
        _YES,
        _OUTPUT,
    ),
    "invalidate --dag retrain_digits --task train",
    "invalidate retrain_digits/manual__2026-11-02/train --reason 'labels were wrong' --yes",
    "invalidate --older-than '90 d' --yes",
)
_GC = _command(
    "gc",
    "Delete what nobody can use any more, and outputs beyond the limits given",
    (
        Arg(("--older-than",), metavar="SPAN", type=_span, help="Outputs go when unused for this long: 90 d"),
        Arg(
            ("--keep",),
            metavar="N",
            type=positive_int(allow_zero=False),
            help="Of each task only the N outputs that it used last stay",
        ),
        Arg(("--max-size",), metavar="SIZE", type=_size, help="The least recently used go beyond it: 500 GB"),
        Arg(
            ("--grace",),
            metavar="SPAN",
            type=_span,
            help="How long everything stays after its last use, whatever the limits say (default: 1 d)",
        ),
        _YES,
        _OUTPUT,
    ),
    "gc",
    "gc --older-than '90 d' --max-size '2 TB'",
    "gc --keep 3 --yes",
)
_DOCTOR = _command(
    "doctor",
    "Check this installation, and say how to mend what is wrong; exits with 1 when something is",
    (_OUTPUT,),
    "doctor",
    "doctor -o json",
)
_NAME = Arg(("name",), help="The name that it is registered under")
_VERSION = Arg(("--version",), type=_version, default="latest", help="Which version (default: the latest)")
_DESCRIPTION = Arg(("--description",), type=_text, default="", help="What it is, in a few words")
_TAGS = Arg(
    ("--tag",), metavar="KEY=VALUE", type=_pair, action="append", default=[], help="A tag; may be repeated"
)
_DATASET = GroupCommand(
    name="dataset",
    help="List, show and register datasets",
    subcommands=[
        _command("list", "List the registered datasets", (_OUTPUT,), "dataset list", body="dataset.list_all"),
        _command(
            "show",
            "Show a version of a dataset: where its data lies, what identifies it, and what made it",
            (_NAME, _VERSION, _OUTPUT),
            "dataset show raw",
            "dataset show raw --version 3 -o json",
            body="dataset.show",
        ),
        _command(
            "register",
            "Register what lies at paths or URLs now as the next version; nothing is copied",
            (
                _NAME,
                Arg(("paths",), metavar="PATH", nargs="+", help="A path, a URL or datastore://NAME/path"),
                _DESCRIPTION,
                _TAGS,
                Arg(
                    ("--table",),
                    choices=("delimited", "parquet", "json-lines"),
                    help="The files are one table, in this format (default: they are files)",
                ),
                Arg(("--separator",), default=",", help="What separates columns (default: a comma)"),
                Arg(
                    ("--identity",),
                    choices=("content", "etag", "definition"),
                    help="What identifies the data (default: content for local files, else etag)",
                ),
                _OUTPUT,
            ),
            "dataset register raw s3://bucket/raw/ --tag source=sensor",
            "dataset register rows data/rows.csv --table delimited",
            body="dataset.register",
        ),
    ],
)
_MODEL = GroupCommand(
    name="model",
    help="List, show, register and download models",
    subcommands=[
        _command("list", "List the registered models", (_OUTPUT,), "model list", body="model.list_all"),
        _command(
            "show",
            "Show a version of a model: its files, tags and properties, and what made it",
            (_NAME, _VERSION, _OUTPUT),
            "model show digits",
            "model show digits --version 3 -o json",
            body="model.show",
        ),
        _command(
            "register",
            "Copy a file or folder into the datastore as the next version of a model",
            (
                _NAME,
                Arg(("path",), help="The file or folder, or its URL"),
                _DESCRIPTION,
                _TAGS,
                Arg(
                    ("--property",),
                    metavar="KEY=VALUE",
                    type=_pair,
                    action="append",
                    default=[],
                    help="A property; may be repeated",
                ),
                _OUTPUT,
            ),
            "model register digits outputs/digits.joblib --tag accuracy=0.97",
            body="model.register",
        ),
        _command(
            "download",
            "Fetch the files of a model; every byte is compared with the digest in its record",
            (
                _NAME,
                _VERSION,
                Arg(("--to",), default=".", help="The folder to put it into (default: the current one)"),
                Arg(("--force",), action="store_true", help="Replace what is there"),
            ),
            "model download digits --to /tmp",
            body="model.download",
        ),
    ],
)
_TARGET = GroupCommand(
    name="target",
    help="List compute targets, and show what they would start",
    subcommands=[
        _command(
            "list",
            "List the compute targets that steps may name",
            (_OUTPUT,),
            "target list",
            body="target.list_all",
        ),
        _command(
            "show",
            "Show what a compute target would start, such as the pod of a Kubernetes target",
            (Arg(("name",), help="The name of the target"), _OUTPUT),
            "target show a100",
            "target show a100 -o json",
            body="target.show",
        ),
    ],
)
_ENVIRONMENT_NAME = Arg(("name",), help="The name of the environment")
_ON_TARGET = Arg(
    ("--target",),
    help="The compute target that it is for (default: the image builder if it has an image, else local)",
)
_ENVIRONMENT = GroupCommand(
    name="environment",
    help="List, show and build the environments that steps may name",
    subcommands=[
        _command(
            "list",
            "List the environments that steps may name",
            (_OUTPUT,),
            "environment list",
            body="environment.list_all",
        ),
        _command(
            "show",
            "Show what counts of an environment, and whether it is built; nothing is resolved or built",
            (_ENVIRONMENT_NAME, _ON_TARGET, _OUTPUT),
            "environment show sklearn",
            "environment show sklearn --target a100 -o json",
            body="environment.show",
        ),
        _command(
            "build",
            "Build an environment before a step needs it; done when it is there already",
            (_ENVIRONMENT_NAME, _ON_TARGET, _OUTPUT),
            "environment build sklearn",
            "environment build sklearn --target a100",
            body="environment.build",
        ),
    ],
)
_TRANSFER = _command(
    "transfer",
    "Copy files from one place to another, passing over those that are there with the same content",
    (
        Arg(
            ("source",), metavar="SRC", type=_text, help="A path, a URL, or datastore://NAME/path; globs too"
        ),
        Arg(("destination",), metavar="DST", type=_text, help="Where to; one file goes into DST/"),
        Arg(("--mirror",), action="store_true", help="Also delete at DST what SRC has not"),
        _YES,
        _OUTPUT,
    ),
    "transfer s3://company-raw/2026/ datastore://archive/2026 --yes",
    "transfer datastore://raw/labels /mnt/labels --mirror",
)
