"""What a script asks to register: one :class:`~airflow_mlpipe.records.Registration` a line.

The lines of ``registrations.jsonl`` wait in the attempt's directory until the step has succeeded.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from airflow_mlpipe.errors import DocumentError
from airflow_mlpipe.records import Registration, from_json
from airflow_mlpipe.runtime.documents import append_line

FILE = "registrations.jsonl"


def ask_for(registration: Registration, directory: Path) -> None:
    """Add *registration* to those of the attempt in *directory*. Raises OSError when there is no room."""
    line = json.dumps(dataclasses.asdict(registration), sort_keys=True)
    append_line(directory / FILE, line, f"the registration of {registration.kind} {registration.name!r}")


def registrations_in(directory: Path) -> list[Registration]:
    """What the attempt in *directory* asked for, in its order; DocumentError for a line that is none."""
    path = directory / FILE
    try:
        lines = path.read_text("utf8").splitlines()
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise DocumentError(f"{path} cannot be read: {error}") from error
    return [from_json(Registration, line) for line in lines]
