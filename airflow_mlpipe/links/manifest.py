"""The link from a task instance to the manifest of its outputs."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import attrs
from airflow.sdk import BaseOperatorLink


@attrs.define
class ManifestLink(BaseOperatorLink):
    """Leads to the manifest: what was made, from what, by whom and when."""

    name = "Manifest"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """A path of our web app; empty when nothing is sealed."""
        decided = getattr(operator, "decided", None)
        if not decided or not decided["sealed"]:
            return ""
        return (
            f"/mlpipe/dags/{quote(decided['producer']['dag_id'], safe='')}/manifests/{decided['fingerprint']}"
        )
