"""What a list of pip's packages stands for in an image, decided once by the image's own pip."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any

from airflow_mlpipe.errors import TargetError
from airflow_mlpipe.model.image_name import ImageName
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.layout import environment_lock_key
from airflow_mlpipe.targets.environments import UnresolvedPackages
from airflow_mlpipe.targets.images.definition import PIP_VARIABLES
from airflow_mlpipe.targets.images.engine import ImageEngine
from airflow_mlpipe.targets.images.identity import ImageIdentity


class ImageLocks:
    """Keeps resolved packages in *datastore*, unless one of *others*, to which nothing is written, has them.

    Unless *resolves*, packages that nobody has resolved so far raise UnresolvedPackages.
    """

    def __init__(
        self,
        engine: ImageEngine,
        datastore: Datastore,
        others: Sequence[Datastore],
        say: Callable[[str], None],
        *,
        resolves: bool = True,
    ) -> None:
        self._engine = engine
        self._datastore = datastore
        self._others = others
        self._say = say
        self._resolves = resolves

    def lock(self, packages: Sequence[str], base: ImageIdentity, python: str) -> str:
        """All that pip adds to the image *base* for *packages*: pinned, one a line, sorted.

        What the image has already is not in it. Raises TargetError with pip's last words when there is no
        such set of versions.
        """
        wanted = json.dumps(["image", base.digest, python, sorted(packages)])
        key = environment_lock_key(hashlib.sha256(wanted.encode()).hexdigest())
        known = (store.read(key) for store in (self._datastore, *self._others))
        kept = next((lock for lock in known if lock is not None), None)
        if kept is None and not self._resolves:
            raise UnresolvedPackages(packages)
        if kept is None:
            self._datastore.create(key, self._resolved(packages, base, python).encode())
            # Another worker may have been first; all install what the datastore says.
            kept = self._datastore.read(key)
        if kept is None:
            raise TargetError(f"the resolved packages vanished from the datastore: {key}")
        return kept.decode()

    def _resolved(self, packages: Sequence[str], base: ImageIdentity, python: str) -> str:
        self._say(f"Resolving {', '.join(packages)} by the pip of {base.reference}")
        if self._engine.inspect(base.reference) is None:
            self._engine.pull(ImageName.parse(base.reference))
        ask = ("install", "--dry-run", "--quiet", "--report", "-", *packages)
        problem = f"pip of the image {base.reference} finds no versions for {', '.join(packages)}; it says"
        argv = (python, "-m", "pip", *ask)
        report = self._engine.output(base.reference, argv, PIP_VARIABLES, problem)
        try:
            pins = [_pin(item) for item in json.loads(report)["install"]]
        except (ValueError, KeyError, TypeError) as error:
            raise TargetError(
                f"pip of the image {base.reference} gave no report that can be read ({error}); it must be "
                "pip 22.2 or later"
            ) from error
        return "".join(f"{pin}\n" for pin in sorted(pins))


def _pin(item: dict[str, Any]) -> str:
    """One distribution of pip's report: by its version, or where it lies when it comes from no index."""
    metadata, origin = item["metadata"], item["download_info"]
    if not item.get("is_direct"):
        return f"{metadata['name']}=={metadata['version']}"
    url = origin["url"]
    if vcs := origin.get("vcs_info"):
        url = f"{vcs['vcs']}+{url}@{vcs['commit_id']}"
    if folder := origin.get("subdirectory"):
        url = f"{url}#subdirectory={folder}"
    return f"{metadata['name']} @ {url}"
