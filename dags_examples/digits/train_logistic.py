"""Train a logistic regression."""

from __future__ import annotations

import argparse
from pathlib import Path

import layers
import numpy as np
from sklearn.linear_model import LogisticRegression

from airflow_mlpipe import Run

parser = argparse.ArgumentParser()
parser.add_argument("--data", type=Path, required=True)
parser.add_argument("--C", type=float, required=True)
parser.add_argument("--model", type=Path, required=True)
arguments = parser.parse_args()

images = np.load(arguments.data / "train_images.npy")
digits = np.load(arguments.data / "train_digits.npy")
model = LogisticRegression(C=arguments.C, max_iter=2000).fit(images, digits)
layers.save([(model.coef_.T, model.intercept_)], arguments.model)

Run.get_context().log("train_accuracy", float(model.score(images, digits)))
print(f"fitted in {int(model.n_iter_.max())} iterations")
