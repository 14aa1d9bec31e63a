"""Classifiers as lists of layers: how they are stored, and what they predict."""

from __future__ import annotations

from pathlib import Path

import numpy as np

Layer = tuple[np.ndarray, np.ndarray]


def save(layers: list[Layer], path: Path) -> None:
    """Write weights and biases as plain arrays, which anybody can read without running anything."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {}
    for index, (weights, bias) in enumerate(layers):
        arrays[f"weights_{index}"], arrays[f"bias_{index}"] = weights, bias
    with path.open("wb") as file:
        np.savez(file, **arrays)


def load(path: Path) -> list[Layer]:
    with np.load(path) as arrays:
        return [(arrays[f"weights_{i}"], arrays[f"bias_{i}"]) for i in range(len(arrays.files) // 2)]


def predict(layers: list[Layer], images: np.ndarray) -> np.ndarray:
    """The digit of each image: rectified linear units, and the largest of the last layer's outputs."""
    values = images
    for weights, bias in layers[:-1]:
        values = np.maximum(values @ weights + bias, 0)
    weights, bias = layers[-1]
    return np.argmax(values @ weights + bias, axis=1)
