"""What a benchmark reports: comparisons with a baseline, as a JSON document and as a table."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import psutil

DISTRIBUTIONS = ("airflow-mlpipe", "apache-airflow", "apache-airflow-task-sdk", "pydantic")


@dataclass(frozen=True)
class Comparison:
    """Samples of ours beside those of a baseline, taken in turns. ``aim`` is the ratio not to exceed."""

    name: str
    baseline_name: str
    unit: str
    ours: Sequence[float]
    baseline: Sequence[float]
    aim: float | None = None

    @property
    def ratio(self) -> float:
        """The median of ours over that of the baseline."""
        return median(self.ours) / median(self.baseline)

    def as_document(self) -> dict[str, Any]:
        """Everything, with the medians and the ratio."""
        return {
            **asdict(self),
            "median_ours": median(self.ours),
            "median_baseline": median(self.baseline),
            "ratio": self.ratio,
        }


@dataclass(frozen=True)
class Report:
    """One benchmark's outcome. ``settings`` is how it was run, ``details`` what was seen besides."""

    name: str
    settings: Mapping[str, Any]
    comparisons: Sequence[Comparison]
    details: Mapping[str, Any] = field(default_factory=dict)

    def write(self, folder: Path) -> Path:
        """Write ``<folder>/<name>.json``; returns its path."""
        document = {
            "schema_version": 1,
            "benchmark": self.name,
            "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "machine": machine(),
            "versions": versions(),
            "settings": dict(self.settings),
            "comparisons": [comparison.as_document() for comparison in self.comparisons],
            "details": dict(self.details),
        }
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.name}.json"
        path.write_text(json.dumps(document, indent=2) + "\n")
        return path

    def table(self) -> str:
        """The comparisons, one a line."""
        width = max(len(comparison.name) for comparison in self.comparisons)
        rows = [f"{self.name:{width}}  {'ours':>9}  {'baseline':>9}  unit     ratio   aim"]
        for comparison in self.comparisons:
            aim = "" if comparison.aim is None else f"<= {comparison.aim:.2f}"
            rows.append(
                f"{comparison.name:{width}}  {median(comparison.ours):9.3f}  "
                f"{median(comparison.baseline):9.3f}  {comparison.unit:7}  {comparison.ratio:5.2f}  {aim:>7}"
                f"  ({comparison.baseline_name})"
            )
        return "\n".join(rows)


def machine() -> dict[str, Any]:
    """What the samples depend on: the processor, the memory, and how busy they are now."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "load_average": [round(load, 2) for load in os.getloadavg()],
    }


def versions() -> dict[str, str]:
    """The Python and the distributions that were measured."""
    return {"python": platform.python_version(), **{name: version(name) for name in DISTRIBUTIONS}}


def load() -> float:
    """How many processes wanted to run, on average over the last minute."""
    return round(os.getloadavg()[0], 2)


def _cpu_model() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
