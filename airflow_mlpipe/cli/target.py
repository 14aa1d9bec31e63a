"""``airflow mlpipe target``: lists compute targets, and shows what they would start."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

import yaml

from airflow_mlpipe.cli.command import command
from airflow_mlpipe.cli.output import print_document, print_rows
from airflow_mlpipe.model.compute import ComputeTarget
from airflow_mlpipe.pipeline.catalog import compute_target, compute_targets
from airflow_mlpipe.pipeline.compute.preview import preview


@command
def list_all(args: Namespace) -> None:
    """List the targets that steps may name."""
    print_rows([_row(target) for target in compute_targets().values()], args.output)


@command
def show(args: Namespace) -> None:
    """Show the pod, the container or the process of a target."""
    target = compute_target(args.name)
    shown = preview(target)
    document = {
        "schema_version": 1,
        "name": target.name,
        "type": _kind(target),
        "fields": target.model_dump(mode="json", exclude_defaults=True, exclude={"name"}),
        "launches": shown.launches,
        "definition": shown.definition,
        "notes": list(shown.notes),
    }
    heading = f"# a {shown.launches} of compute target {target.name!r}"
    notes = "".join(f"\n# {note}" for note in shown.notes)
    print_document(document, args.output, f"{heading}{notes}\n{_yaml(shown.definition).rstrip()}")


def _row(target: ComputeTarget) -> dict[str, Any]:
    gpus = getattr(target, "gpus", 0)
    return {
        "name": target.name,
        "type": _kind(target),
        "image": getattr(target, "image", None),
        "gpus": ", ".join(gpus) if isinstance(gpus, tuple) else gpus,
        "pool": target.pool,
        "pool_slots": target.pool_slots,
        "queue": target.queue,
        "cost_per_hour": target.cost_per_hour,
    }


def _kind(target: ComputeTarget) -> str:
    return str(target.model_dump(include={"type"})["type"])


def _yaml(document: dict[str, Any]) -> str:
    return yaml.dump(document, Dumper=_Blocks, sort_keys=False, allow_unicode=True)


class _Blocks(yaml.SafeDumper):
    """Writes texts of several lines as lines, so that people can read them."""


_Blocks.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style="|" if "\n" in text else None
    ),
)
