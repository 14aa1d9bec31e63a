"""Learn to tell the points apart: a logistic regression on squares, by gradient descent.

Plain Python, so that any image runs it. A framework would find the machine's GPUs as in any other container.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
from pathlib import Path

from airflow_mlpipe import Run

parser = argparse.ArgumentParser()
parser.add_argument("--data", type=Path, required=True)
parser.add_argument("--rate", type=float, required=True)
parser.add_argument("--model", type=Path, required=True)
arguments = parser.parse_args()


def features(point):
    return [1.0, point["x"] ** 2, point["y"] ** 2]


def certainty(weights, point):
    return 1 / (1 + math.exp(-sum(w * f for w, f in zip(weights, features(point)))))


run = Run.get_context()
train, test = (json.loads((arguments.data / f"{name}.json").read_text()) for name in ("train", "test"))
print(f"training on {platform.node()}, GPUs: {os.environ.get('NVIDIA_VISIBLE_DEVICES', 'none')}")

weights = [0.0, 0.0, 0.0]
for epoch in range(200):
    loss = 0.0
    for point in train:
        p = certainty(weights, point)
        loss -= math.log(max(p if point["inside"] else 1 - p, 1e-12))
        weights = [w + arguments.rate * (point["inside"] - p) * f for w, f in zip(weights, features(point))]
    if epoch % 20 == 0:
        run.log("loss", loss / len(train))

right = sum((certainty(weights, point) > 0.5) == point["inside"] for point in test)
run.log("test_accuracy", right / len(test))
arguments.model.write_text(json.dumps([round(weight, 6) for weight in weights]))
print(f"{right} of {len(test)} test points are told apart")
