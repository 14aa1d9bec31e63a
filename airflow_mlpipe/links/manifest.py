"""The link from a task instance to the manifest of its outputs."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import attrs
from airflow.sdk import BaseOperatorLink


@attrs.define
class ManifestLink(BaseOperatorLink):
    """Leads from the task instance that made outputs to their manifest: from what, by whom and when.

    One that reused them leads there by way of the one that made them: each link is a request to Airflow.
    """

    name = "Manifest"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """A path of our web app; empty when nothing is sealed, or was not made here."""
        decided = getattr(operator, "decided", None)
        if not decided or not decided["sealed"] or decided["action"] == "reused":
            return ""
        return (
            f"/mlpipe/dags/{quote(decided['producer']['dag_id'], safe='')}/manifests/{decided['fingerprint']}"
        )
