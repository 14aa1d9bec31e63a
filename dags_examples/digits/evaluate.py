"""Compare models on the images that were set aside."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import layers
import numpy as np

from airflow_mlpipe import Run

parser = argparse.ArgumentParser()
parser.add_argument("--data", type=Path, required=True)
parser.add_argument("--report", type=Path, required=True)
parser.add_argument("models", type=Path, nargs="+")
arguments = parser.parse_args()

images = np.load(arguments.data / "test_images.npy")
digits = np.load(arguments.data / "test_digits.npy")
run = Run.get_context()
accuracy = {}
for path in arguments.models:
    accuracy[path.name] = float(np.mean(layers.predict(layers.load(path), images) == digits))
    run.log(f"{path.name}_accuracy", accuracy[path.name])
    print(f"{path.name}: {accuracy[path.name]:.3f} of {len(digits)} images")

best = max(accuracy, key=lambda name: accuracy[name])
arguments.report.write_text(json.dumps({"best": best, "accuracy": accuracy}, indent=2, sort_keys=True))
run.tag("best", best)
