"""Scale the images to 0..1 and set a share of them aside for the test."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from airflow_mlpipe import Run

parser = argparse.ArgumentParser()
parser.add_argument("--output", type=Path, required=True)
parser.add_argument("--test-share", type=float, required=True)
arguments = parser.parse_args()

digits = load_digits()
parts = train_test_split(
    digits.data / 16.0, digits.target, test_size=arguments.test_share, random_state=7, stratify=digits.target
)
for name, part in zip(("train_images", "test_images", "train_digits", "test_digits"), parts, strict=True):
    np.save(arguments.output / f"{name}.npy", part)

run = Run.get_context()
run.log("train_rows", len(parts[0]))
run.log("test_rows", len(parts[1]))
print(f"{len(parts[0])} images to train with, {len(parts[1])} to test with")
