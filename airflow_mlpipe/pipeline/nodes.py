"""How many steps run on a target at once, counted where all deployments see it: in the datastore.

An Airflow pool is entered before a task can look whether it has anything to run; so steps that are reused
would wait for the GPUs of others there. A node is taken only by a step that runs.
"""

from __future__ import annotations

from collections.abc import Sequence

from airflow_mlpipe.reuse.canonical import digest
from airflow_mlpipe.store.lease import Lease, Leases


class Nodes:
    """The nodes of the target named *target*, at most *max_nodes* (SDK v1's word) at once, as *leases*.

    Who waits for one is not queued: the first to look after a node became free takes it.
    """

    def __init__(self, leases: Leases, target: str, max_nodes: int) -> None:
        self._leases = leases
        self.names: Sequence[str] = [digest(["node", target, number]) for number in range(max_nodes)]

    def take(self, owner: str, attempt: str) -> Lease | None:
        """A node for *attempt* of *owner*, the one that it left if it did; None while all are taken.

        Raises StoreError.
        """
        records = {name: self._leases.current(name) for name in self.names}
        own = [name for name, record in records.items() if record is not None and record.owner == owner]
        free = [
            name
            for name, record in records.items()
            if record is None or self._leases.has_lapsed(name, record)
        ]
        for name in (*own, *free):
            taken = self._leases.take(name, owner, attempt)
            if isinstance(taken, Lease):
                return taken
        return None
