"""Make points of two kinds, inside and outside a circle, and set a quarter of them aside for the test."""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

from airflow_mlpipe import Run

parser = argparse.ArgumentParser()
parser.add_argument("--points", type=int, required=True)
parser.add_argument("--output", type=Path, required=True)
arguments = parser.parse_args()

chance = random.Random(7)
points = []
for _ in range(arguments.points):
    x, y = chance.uniform(-1, 1), chance.uniform(-1, 1)
    points.append({"x": x, "y": y, "inside": x * x + y * y < 0.5})

test_count = len(points) // 4
for name, part in (("test", points[:test_count]), ("train", points[test_count:])):
    (arguments.output / f"{name}.json").write_text(json.dumps(part))
    Run.get_context().log(f"{name}_points", len(part))
print(f"{len(points) - test_count} points to train with, {test_count} to test with")
