"""``airflow mlpipe doctor``: checks this installation, and says how to mend it."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Mapping

from airflow_mlpipe.cli.command import FAILED, command
from airflow_mlpipe.cli.output import print_document
from airflow_mlpipe.pipeline.doctor.examination import examine
from airflow_mlpipe.pipeline.doctor.finding import Finding
from airflow_mlpipe.version import __version__


@command
def run(args: Namespace) -> int | None:
    """Make all checks; exit code 1 when one of them failed."""
    found = examine()
    document = {
        "schema_version": 1,
        "version": __version__,
        "checks": [{"check": name, **finding.as_document()} for name, finding in found.items()],
    }
    print_document(document, args.output, "\n".join(_lines(found)))
    return FAILED if any(finding.level == "FAIL" for finding in found.values()) else None


def _lines(found: Mapping[str, Finding]) -> Iterator[str]:
    for name, finding in found.items():
        yield f"{finding.level:<5} {name}: {finding.said}"
        if finding.mend:
            yield f"      mend: {finding.mend}"
    levels = [finding.level for finding in found.values()]
    yield f"{levels.count('ok')} ok, {levels.count('warn')} warnings, {levels.count('FAIL')} failed"
