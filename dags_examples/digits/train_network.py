"""Train a small neural network."""

from __future__ import annotations

import argparse
from pathlib import Path

import layers
import numpy as np
from sklearn.neural_network import MLPClassifier

from airflow_mlpipe import Run

parser = argparse.ArgumentParser()
parser.add_argument("--data", type=Path, required=True)
parser.add_argument("--lr", type=float, required=True)
parser.add_argument("--model", type=Path, required=True)
arguments = parser.parse_args()

images = np.load(arguments.data / "train_images.npy")
digits = np.load(arguments.data / "train_digits.npy")
model = MLPClassifier(
    hidden_layer_sizes=(32,),
    learning_rate_init=arguments.lr,
    max_iter=400,
    random_state=7,
).fit(images, digits)
layers.save(list(zip(model.coefs_, model.intercepts_, strict=True)), arguments.model)

run = Run.get_context()
run.log_list("loss", [float(loss) for loss in model.loss_curve_])
run.log("train_accuracy", float(model.score(images, digits)))
print(f"loss {model.loss_:.4f} after {model.n_iter_} epochs")
