"""Looking a fingerprint up in stores that hold ever more manifests: the time must not grow with the store."""

from __future__ import annotations

import hashlib
import random
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.hashing import describe
from airflow_mlpipe.store.layout import manifest_key, output_key
from airflow_mlpipe.store.manifest import Manifest, ManifestMissing, ManifestOutput, Producer, read_manifest
from airflow_mlpipe.store.verification import verify
from benchmarks.report import Comparison, Report, load
from tools.console import say

SEED = 20261121


def measure(folder: Path, *, sizes: Sequence[int], lookups: int) -> Report:
    """Hits and misses in a store that grows to each of *sizes*, *lookups* of each kind."""
    shutil.rmtree(folder, ignore_errors=True)
    datastore = Datastore.open(str(folder / "store"))
    output = _output(datastore, folder)
    hits: dict[int, list[float]] = {}
    misses: dict[int, list[float]] = {}
    filled, loads = 0, {}
    for size in sizes:
        while filled < size:
            _put(datastore, filled, output)
            filled += 1
        say(f"lookup: {size} manifests")
        loads[size] = load()
        chosen = random.Random(SEED).sample(range(size), min(lookups, size))
        hits[size] = [_timed(lambda n=n: _hit(datastore, n)) for n in _repeated(chosen, lookups)]
        misses[size] = [_timed(lambda n=n: _miss(datastore, n)) for n in range(lookups)]
    shutil.rmtree(folder)
    return Report(
        "lookup",
        {"sizes": list(sizes), "lookups": lookups},
        [*_comparisons("hit", hits, sizes), *_comparisons("miss", misses, sizes)],
        {"load": loads, "median_ms": {"hit": _medians(hits), "miss": _medians(misses)}},
    )


def _comparisons(kind: str, samples: dict[int, list[float]], sizes: Sequence[int]) -> list[Comparison]:
    smallest = sizes[0]
    return [
        Comparison(
            f"{kind} among {size} manifests",
            f"among {smallest}",
            "ms",
            samples[size],
            samples[smallest],
            aim=1.5,  # flat, with room for a disk cache that no longer holds everything
        )
        for size in sizes[1:]
    ]


def _medians(samples: dict[int, list[float]]) -> dict[int, float]:
    return {size: round(median(times), 4) for size, times in samples.items()}


def _repeated(chosen: list[int], count: int) -> list[int]:
    return [chosen[index % len(chosen)] for index in range(count)]


def _timed(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - started)


def _hit(datastore: Datastore, number: int) -> None:
    manifest = read_manifest(datastore, _fingerprint(number))
    damages = verify(datastore, manifest, "size")
    assert not damages, damages


def _miss(datastore: Datastore, number: int) -> None:
    try:
        read_manifest(datastore, _fingerprint(-1 - number))
    except ManifestMissing:
        return
    raise AssertionError("a fingerprint that was never sealed was found")


def _fingerprint(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def _output(datastore: Datastore, folder: Path) -> ManifestOutput:
    """One output that all manifests share, since only looking them up is measured."""
    source = folder / "model"
    source.parent.mkdir(parents=True, exist_ok=True)
    source.write_bytes(b"weights" * 100)
    key = output_key("attempt", "model")
    datastore.upload(source, key)
    return ManifestOutput.of("model", key, describe(source))


def _put(datastore: Datastore, number: int, output: ManifestOutput) -> None:
    fingerprint = _fingerprint(number)
    manifest = Manifest(
        schema_version=1,
        fingerprint=fingerprint,
        recipe={"schema_version": 1, "step": {"kind": "python_script", "entry": "train.py"}},
        outputs={"model": output},
        results={"accuracy": 0.97},
        parent_metrics={},
        tags={},
        producer=Producer(
            dag_id="retrain",
            run_id=f"run-{number}",
            task_id="train",
            map_index=-1,
            try_number=1,
            attempt="attempt",
            experiment="retrain",
            host="worker",
        ),
        started_at=0.0,
        finished_at=60.0,
        sealed_at=61.0,
        snapshot=None,
        provider_version="0.1.0",
    )
    # Written plainly: a datastore waits for the disk with each, which is a quarter of an hour for 10^5.
    path = datastore.local_path(manifest_key(fingerprint))
    assert path is not None
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(manifest.to_bytes())
