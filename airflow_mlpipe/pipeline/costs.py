"""What running steps takes, in seconds and in money, what reuse spares, and what machines lose."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from airflow_mlpipe.model.compute import ComputeTarget
from airflow_mlpipe.reuse.phrases import spent
from airflow_mlpipe.store.manifest import Manifest, ManifestCompute
from airflow_mlpipe.store.run_record import RunRecord


def compute_of(target: ComputeTarget) -> ManifestCompute | None:
    """What a manifest says of the compute target; None when that is the worker's machine without a price."""
    if target.type == "local" and target.cost_per_hour is None:
        return None
    return ManifestCompute(target=target.name, type=target.type, cost_per_hour=target.cost_per_hour)


@dataclass(frozen=True)
class Expense:
    """What running takes: ``seconds``, and their ``cost``, None where no compute target had a price."""

    seconds: float = 0.0
    cost: float | None = None

    @classmethod
    def of(cls, manifest: Manifest) -> Expense:
        """What it took to make what *manifest* describes."""
        return cls(manifest.seconds, manifest.cost)

    @classmethod
    def at(cls, target: ComputeTarget, seconds: float) -> Expense:
        """What *seconds* on *target* cost."""
        price = target.cost_per_hour
        return cls(seconds, None if price is None else seconds / 3600 * price)

    def __add__(self, other: Expense) -> Expense:
        costs = [cost for cost in (self.cost, other.cost) if cost is not None]
        return Expense(self.seconds + other.seconds, sum(costs) if costs else None)

    def __str__(self) -> str:
        return spent(self.seconds, self.cost)


@dataclass(frozen=True)
class Balance:
    """What task instances took to run, what reuse spared them, and what machines lost that they ran on."""

    ran: Expense
    saved: Expense
    lost: Expense

    @classmethod
    def of(cls, records: Iterable[RunRecord]) -> Balance:
        """The sums over *records*, as far as they know."""
        ran, saved, lost = Expense(), Expense(), Expense()
        for record in records:
            if record.action == "ran":
                ran += Expense(record.seconds or 0.0, record.cost)
            saved += Expense(record.saved_seconds or 0.0, record.saved_cost)
            lost += Expense(record.lost_seconds or 0.0, record.lost_cost)
        return cls(ran, saved, lost)

    def sentence(self) -> str:
        """The balance in a few words: ``ran for 2 h and 6.00 of compute, saved 13 min``."""
        parts = [f"ran for {self.ran}"] if self.ran.seconds else []
        parts += [f"saved {self.saved}"] if self.saved.seconds else []
        parts += [f"lost {self.lost} to infrastructure"] if self.lost.seconds else []
        return ", ".join(parts) or "took no time"


def rounded(value: float | None, digits: int) -> float | None:
    """*value* as documents have it; None stays None."""
    return None if value is None else round(value, digits)
