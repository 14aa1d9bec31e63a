"""The recipes that a datastore knows, by fingerprint."""

from __future__ import annotations

import json

from airflow_mlpipe.errors import DocumentError
from airflow_mlpipe.reuse.recipe import Recipe
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.layout import recipe_key
from airflow_mlpipe.store.manifest import ManifestMissing, read_manifest


def keep_recipe(datastore: Datastore, recipe: Recipe) -> None:
    """Store *recipe*, so that it can be explained although nothing may ever be sealed. Raises StoreError."""
    data = json.dumps(recipe.as_document(), sort_keys=True, separators=(",", ":")).encode() + b"\n"
    datastore.create(recipe_key(recipe.fingerprint()), data)


def recipe_of(datastore: Datastore, fingerprint: str) -> Recipe | None:
    """The recipe with *fingerprint*: from its manifest, else as it was run. None when it is not known.

    What does not have that fingerprint, or cannot be read, is not known. Raises StoreError.
    """
    for document in (_sealed(datastore, fingerprint), _run(datastore, fingerprint)):
        try:
            recipe = Recipe.from_document(document)
        except DocumentError:
            continue
        if recipe.fingerprint() == fingerprint:
            return recipe
    return None


def _sealed(datastore: Datastore, fingerprint: str) -> object:
    try:
        return read_manifest(datastore, fingerprint).recipe
    except (ManifestMissing, DocumentError):
        return None


def _run(datastore: Datastore, fingerprint: str) -> object:
    data = datastore.read(recipe_key(fingerprint))
    try:
        return None if data is None else json.loads(data)
    except (ValueError, RecursionError):
        return None
