"""Looking for garbage in a datastore: what nobody can use any more, and what is beyond the limits."""

from __future__ import annotations

import fcntl
import logging
from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import chain

from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.store.clock import store_time
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.garbage.census import Attempt, Census, Run, Standing, Uses, attempts_in
from airflow_mlpipe.store.garbage.leftovers import leftovers
from airflow_mlpipe.store.garbage.limits import Garbage, Limits, Outputs, beyond_limits
from airflow_mlpipe.store.invalidation import Invalidations
from airflow_mlpipe.store.layout import attempt_prefix, invalidation_key, recipe_key, snapshot_key

log = logging.getLogger(__name__)

# A heartbeat is written every five seconds, so that whatever is older is not that of a process at work.
SIGN_OF_LIFE_SECONDS = 60.0


class Survey:
    """What lies in *datastore* and what of it is garbage, as it was found at *now*, the time of the store.

    Making one reads all manifests, run records, journals and leases, and lists everything; nothing is
    deleted. *live_runs* are the DAG runs that are not over; *clock* is the time for a store that tells
    none. Raises StoreError.
    """

    def __init__(self, datastore: Datastore, limits: Limits, live_runs: Iterable[Run], clock: float) -> None:
        self.datastore = datastore
        self.limits = limits
        now = store_time(datastore)
        self.now = clock if now is None else now
        self.ages_unknown = 0
        self._live_runs = frozenset(live_runs)
        self.census = Census.take(datastore)
        self.uses = self.read_uses()
        self.outputs = list(self._outputs())
        self.garbage = [*self._find()]

    def read_uses(self) -> Uses:
        """What the run records say now."""
        older_than = self.limits.older_than
        return Uses.read(
            self.datastore,
            live_runs=self._live_runs,
            in_work=self._in_work,
            old_before=None if older_than is None else self.now - max(older_than, self.limits.grace),
        )

    def attempts_of(self, fingerprint: str) -> frozenset[str]:
        """The attempts that nothing holds but the manifest of *fingerprint*, which is garbage."""
        return frozenset(self.census.sealed[fingerprint].attempts) - self._kept_attempts

    @cached_property
    def _in_work(self) -> frozenset[str]:
        """The fingerprints that somebody may be working on."""
        return frozenset(name for name, lease in self.census.leases.items() if self._stands(lease))

    @cached_property
    def _doomed(self) -> dict[str, str]:
        """The fingerprints of sealed outputs that are beyond the limits, with the reason."""
        return dict(beyond_limits(self.outputs, self.limits, self.now))

    @cached_property
    def _kept_attempts(self) -> frozenset[str]:
        """The attempts of manifests that stay, or that cannot be read."""
        sealed = self.census.sealed
        kept = (sealed[name].attempts for name in sealed.keys() - self._doomed.keys())
        return frozenset(chain.from_iterable(chain(kept, self.census.unreadable.values())))

    @cached_property
    def _held_attempts(self) -> frozenset[str]:
        """The attempts, sealed or not, that somebody works on or with, or that registered datasets are of."""
        uses = self.uses
        leases = (self.census.leases[name].record for name in self._in_work)
        leased = {attempt for record in leases for attempt in record.attempts}
        handed_on = {name for name, used in uses.attempts.items() if self.now - used < self.limits.grace}
        # Of what was read a record has the fingerprint; only a manifest tells the attempt, until it is gone.
        read = {name for name, fingerprint in uses.made.items() if self._is_read_unsealed(fingerprint)}
        at_work = self._read_by_attempts()
        registered = self.census.registered
        return frozenset(chain(uses.held_attempts, leased, handed_on, read, at_work, registered))

    def _is_read_unsealed(self, fingerprint: str) -> bool:
        last_use = self.uses.fingerprints[fingerprint].last
        is_fresh = fingerprint not in self.census.sealed and self.now - last_use < self.limits.grace
        return is_fresh or fingerprint in self.uses.held

    def _read_by_attempts(self) -> Iterator[str]:
        """What the specifications of attempts at work name."""
        for name, attempt in self.census.attempts.items():
            if attempt.open and (self._is_young(_signs(name, attempt)) or self._is_supervised(name)):
                yield from attempts_in(self.datastore.read(f"{attempt_prefix(name)}/spec.json") or b"")

    def _outputs(self) -> Iterator[Outputs]:
        for name, sealed in self.census.sealed.items():
            use = self.uses.fingerprints.get(name)
            held = name in self.uses.held or name in self._in_work
            yield Outputs(
                fingerprint=name,
                size=sum(self.census.size_of(attempt) for attempt in sealed.attempts),
                last_used=max(sealed.sealed_at, use.last if use else 0.0),
                tasks=tuple({sealed.task, *(use.tasks if use else ())}),
                held=held or not self._held_attempts.isdisjoint(sealed.attempts),
            )

    def _find(self) -> Iterator[Garbage]:
        for item in self.outputs:
            if (why := self._doomed.get(item.fingerprint)) is not None:
                step = self.census.sealed[item.fingerprint].step
                yield Garbage("outputs", item.fingerprint, item.size, why, step, item.last_used)
        yield from self._leases()
        yield from self._attempts()
        yield from self._models()
        yield from self._snapshots()
        yield from self._records()
        yield from self._notes()
        yield from self._leftovers()

    def _leases(self) -> Iterator[Garbage]:
        for name, lease in self.census.leases.items():
            if name not in self._in_work:
                yield Garbage(
                    "lease", name, len(lease.record.raw), "its worker was lost", step=lease.record.owner
                )

    def _attempts(self) -> Iterator[Garbage]:
        of_doomed = {attempt for name in self._doomed for attempt in self.census.sealed[name].attempts}
        for name, attempt in self.census.attempts.items():
            if name in self._kept_attempts or name in of_doomed or name in self._held_attempts:
                continue
            if not self._is_young(_signs(name, attempt)) and not (attempt.open and self._is_supervised(name)):
                yield Garbage("attempt", name, attempt.size, "no manifest needs it")

    def _models(self) -> Iterator[Garbage]:
        for name, (size, last) in self.census.model_files.items():
            if name not in self.census.models and not self._is_young([last]):
                yield Garbage("model", name, size, "it was never registered to the end")

    def _snapshots(self) -> Iterator[Garbage]:
        sealed = self.census.sealed
        named = {sealed[name].snapshot for name in sealed.keys() - self._doomed.keys()} | self.uses.snapshots
        for digest, size in self.census.snapshots.items():
            if digest not in named and not self._is_young([snapshot_key(digest)]):
                yield Garbage("snapshot", digest, size, "no manifest and no run record names it")

    def _records(self) -> Iterator[Garbage]:
        for record in self.uses.old:
            is_sealed = record.fingerprint in self.census.sealed and record.fingerprint not in self._doomed
            if not is_sealed and record.fingerprint not in self.census.unreadable:
                why = "older than is kept, and its outputs are gone"
                yield Garbage("record", record.key, record.size, why, record.step, record.last_used)

    def _notes(self) -> Iterator[Garbage]:
        """Recipes and words of invalidation that no explanation can need."""
        why = "no run record and no journal names it"
        for name, size in self.census.recipes.items():
            if name not in self._explained and not self._is_young([recipe_key(name)]):
                yield Garbage("note", recipe_key(name), size, why)
        for name, size in self.census.invalidations.items():
            if self._is_young([invalidation_key(name)]):
                continue
            if name in self.census.sealed and name not in self._doomed:
                yield Garbage("note", invalidation_key(name), size, "the outputs were sealed again")
            elif name not in self._explained and not self._may_distrust(name):
                yield Garbage("note", invalidation_key(name), size, why)

    def _may_distrust(self, fingerprint: str) -> bool:
        """Whether the word keeps outputs of other datastores from being reused; in doubt it does."""
        said = Invalidations(self.datastore).current(fingerprint)
        return said is None or said.distrusts

    @cached_property
    def _explained(self) -> frozenset[str]:
        """The fingerprints that an explanation may speak of."""
        census, uses = self.census, self.uses
        stored = chain(census.sealed, census.unreadable, census.in_journals)
        return frozenset(chain(stored, uses.fingerprints, uses.named, self._in_work))

    def _leftovers(self) -> Iterator[Garbage]:
        for leftover in leftovers(self.datastore, self.now):
            if leftover.age >= self._shortest_age:
                if leftover.is_folder:
                    yield Garbage("folder", leftover.key, 0, "there is nothing in it")
                else:
                    yield Garbage("temporary", leftover.key, leftover.size, "its writer was killed")

    @property
    def _shortest_age(self) -> float:
        return max(self.limits.grace, SIGN_OF_LIFE_SECONDS)

    def _stands(self, lease: Standing) -> bool:
        """Whether somebody may work under *lease*, or come back to the attempt that it names."""
        return lease.age is None or lease.age < max(lease.record.duration, self._shortest_age)

    def _is_young(self, keys: Iterable[str]) -> bool:
        """Whether one of *keys* was written a short time ago, or the store does not tell."""
        try:
            ages = [age for key in keys if (age := self.datastore.age(key)) is not None]
        except StoreError as error:
            log.warning("%s; it stays", error)
            ages = []
        self.ages_unknown += not ages
        return not ages or min(ages) < self._shortest_age

    def _is_supervised(self, attempt: str) -> bool:
        """Whether a supervisor holds its lock; it does until it ends, also when it cannot write."""
        path = self.datastore.local_path(f"{attempt_prefix(attempt)}/supervisor.lock")
        try:
            if path is not None:
                with path.open("rb") as lock:
                    fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:  # no lock there, or a disk without locks: the age of the heartbeat has to do
            return False
        return False


def _signs(name: str, attempt: Attempt) -> list[str]:
    """The keys whose age tells when there was last work on an attempt."""
    return [f"{attempt_prefix(name)}/{sign}" for sign in attempt.signs]
