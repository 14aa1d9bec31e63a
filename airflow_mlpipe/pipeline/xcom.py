"""What goes through Airflow's XCom: our references, and values by keys that it can find."""

from __future__ import annotations

import re

from airflow_mlpipe.model.dataset import FileDataset
from airflow_mlpipe.model.reference import PipelineDataReference
from airflow_mlpipe.pipeline.datastores import know_datastores

# Airflow puts keys into URLs as they are: "a?b" would be read back as "a", and "a/b" is not found.
_USABLE_KEY = re.compile(r"(?!\.+$)[A-Za-z0-9_.~ :@+=,()-]{1,250}")


def is_usable_key(key: str) -> bool:
    """Whether Airflow finds a value again that is pushed under *key*."""
    return _USABLE_KEY.fullmatch(key) is not None


def allow_references() -> None:
    """Allow this process to read references from XCom, which by default admits Airflow's own classes only.

    It may then open what they name, in whichever datastore that lies.
    """
    from airflow.sdk.serde import allow_class

    allow_class(PipelineDataReference)
    allow_class(FileDataset)  # what has changed at a watched place
    know_datastores()
