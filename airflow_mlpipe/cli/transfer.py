"""``airflow mlpipe transfer``: copies data from one place to another."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

from airflow_mlpipe.cli.command import command, say
from airflow_mlpipe.cli.output import print_document
from airflow_mlpipe.pipeline.settings import Settings
from airflow_mlpipe.pipeline.stores import Stores
from airflow_mlpipe.pipeline.transferring import Transfer, deletions, document_of, summary
from airflow_mlpipe.pipeline.worker import hash_cache, source_finder
from airflow_mlpipe.store.transfer.ends import CopyReport


@command
def run(args: Namespace) -> None:
    """Say what would be copied and deleted, or do it."""
    settings = Settings.read()
    with hash_cache(settings) as cache:
        finder = source_finder(Path.cwd(), cache, settings)
        source = finder.dataset([args.source], "definition", "the source")
        transfer = Transfer.of(
            source, args.source, _absolute(args.destination), Stores.open(settings), mirror=args.mirror
        )
        report = transfer.run(cache, mirror=args.mirror, dry_run=not args.yes, say=say)
    document = {
        "schema_version": 1,
        "source": args.source,
        "destination": transfer.destination,
        **document_of(report, dry_run=not args.yes),
        "deletions": list(report.deleted),
    }
    print_document(document, args.output, "\n".join(_lines(report, not args.yes)))


def _absolute(place: str) -> str:
    """*place* with a relative path starting here, as paths of a command line do."""
    if "://" in place or place.startswith("/"):
        return place
    return f"{Path.cwd() / place}{'/' if place.endswith('/') else ''}"


def _lines(report: CopyReport, dry_run: bool) -> Iterator[str]:
    for path in deletions(report):
        yield f"{'would be deleted' if dry_run else 'deleted'}: {path}"
    yield summary(report, dry_run=dry_run)
    if dry_run and (report.copied or report.deleted):
        yield "Nothing was changed; --yes does it."
