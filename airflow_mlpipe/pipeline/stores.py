"""The datastores of a deployment: one that it writes to, and those whose outputs it trusts besides."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from airflow_mlpipe.errors import DefinitionError
from airflow_mlpipe.pipeline.settings import Settings
from airflow_mlpipe.pipeline.signing import keyring_at
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.layout import ROOT
from airflow_mlpipe.store.signature import Keyring


@dataclass(frozen=True)
class Stores:
    """``own`` is where this deployment seals; ``others`` are read after it, in order, and never written.

    ``signing_key`` is the option of that name.
    """

    own: Datastore
    others: tuple[Datastore, ...] = ()
    signing_key: str = ""

    @classmethod
    def open(cls, settings: Settings) -> Stores:
        """The stores that *settings* name; StoreError for one that cannot be opened.

        With ``read_only`` the deployment's datastore is one of the others, and what must be run is sealed in
        the private one: nobody else reuses it. DefinitionError when that is not a place of its own.
        """
        shared = Datastore.open(settings.datastore_url)
        others = [Datastore.open(url) for url in settings.read_datastores]
        if not settings.read_only:
            return cls(shared, _distinct(others, besides=shared), settings.signing_key)
        private = Datastore.open(settings.private_datastore)
        if private.url in {store.url for store in (shared, *others)}:
            raise DefinitionError(
                f"[mlpipe] private_datastore is {settings.private_datastore!r}, which a read_only deployment "
                "does not write to; name a folder of its own"
            )
        return cls(private, _distinct([shared, *others], besides=private), settings.signing_key)

    def __iter__(self) -> Iterator[Datastore]:
        yield self.own
        yield from self.others

    @cached_property
    def keyring(self) -> Keyring:
        """The keys by which manifests are signed and judged; read once. Raises as ``keyring_at`` does."""
        return keyring_at(self.signing_key)

    def holding(self, uri: str) -> Datastore | None:
        """The store among whose own files *uri* lies; None when it lies elsewhere."""
        return next((store for store in self if uri.startswith(f"{store.uri(ROOT)}/")), None)


def _distinct(stores: list[Datastore], *, besides: Datastore) -> tuple[Datastore, ...]:
    """*stores* without *besides* and without repetitions, in their order."""
    by_url = {store.url: store for store in stores if store.url != besides.url}
    return tuple(by_url.values())
