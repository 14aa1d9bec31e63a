"""Retrain two classifiers of handwritten digits every week, and register the better one: steps as functions.

The same pipeline as ``retrain_digits``, which has its steps as scripts: prepare -> train_logistic,
train_network (in parallel) -> evaluate -> register. Frames and models go from function to function, each kept
in a file that other programs can read. Trigger it twice: the second run reuses every step. Trigger it with
another ``lr``: only the network is trained again, and what follows from it.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from airflow.sdk import Param, dag

from airflow_mlpipe import OUTPUT, Input, Output, PipelineParameter, Run, step

if TYPE_CHECKING:  # what is imported here costs nothing when the DAG is parsed
    import pandas as pd
    from sklearn.base import ClassifierMixin
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier

DIGIT = "target"  # the column with the digit; the other 64 are the pixels of an image


class Split(NamedTuple):
    """One row for each image: its pixels from 0 to 1, and its digit."""

    train: pd.DataFrame
    test: pd.DataFrame


class Report(NamedTuple):
    """The name of the best model, and the share of test images that each model gets right."""

    best: str
    accuracy: dict[str, float]


@step
def prepare(test_share: float) -> Split:
    """Scale the images to 0..1 and set a share of them aside for the test."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits(as_frame=True).frame
    digits.loc[:, digits.columns != DIGIT] /= 16.0
    train, test = train_test_split(digits, test_size=test_share, random_state=7, stratify=digits[DIGIT])

    run = Run.get_context()
    run.log("train_rows", len(train))
    run.log("test_rows", len(test))
    return Split(train, test)


@step
def train_logistic(data: pd.DataFrame, C: float) -> LogisticRegression:
    """Train a logistic regression."""
    from sklearn.linear_model import LogisticRegression

    images, digits = pixels(data), data[DIGIT]
    model = LogisticRegression(C=C, max_iter=2000).fit(images, digits)
    Run.get_context().log("train_accuracy", model.score(images, digits))
    return model


@step
def train_network(data: pd.DataFrame, lr: float) -> MLPClassifier:
    """Train a small neural network."""
    from sklearn.neural_network import MLPClassifier

    images, digits = pixels(data), data[DIGIT]
    model = MLPClassifier(hidden_layer_sizes=(32,), learning_rate_init=lr, max_iter=400, random_state=7)
    model.fit(images, digits)

    run = Run.get_context()
    run.log_list("loss", model.loss_curve_)
    run.log("train_accuracy", model.score(images, digits))
    return model


@step
def evaluate(test: pd.DataFrame, models: Input[dict[str, ClassifierMixin]]) -> Report:
    """Compare models on the images that were set aside."""
    accuracy = {name: float(model.score(pixels(test), test[DIGIT])) for name, model in models.items()}
    best = max(accuracy, key=lambda name: accuracy[name])

    run = Run.get_context()
    for name, share in accuracy.items():
        run.log(f"{name}_accuracy", share)
    run.tag("best", best)
    return Report(best, accuracy)


@step
def register(
    best: str,
    accuracy: dict[str, float],
    models: Input[dict[str, Path]],
    registered: Output[Path] = OUTPUT,
) -> None:
    """Put the best model, with a card that says what it is, where a service would load it from."""
    registered.mkdir()
    shutil.copyfile(models[best], registered / "digits.skops")
    card = {"model": best, "test_accuracy": accuracy[best], "classes": list(range(10))}
    (registered / "card.json").write_text(json.dumps(card, indent=2, sort_keys=True))


def pixels(images: pd.DataFrame) -> pd.DataFrame:
    return images.drop(columns=DIGIT)


@dag(
    schedule="@weekly",
    catchup=False,
    tags=["mlpipe", "example"],
    params={
        "lr": Param(0.01, type="number", exclusiveMinimum=0, description="learning rate of the network"),
        "C": Param(
            1.0, type="number", exclusiveMinimum=0, description="inverse regularisation of the logistic"
        ),
    },
    doc_md=__doc__,
)
def retrain_digits_taskflow() -> None:
    data = prepare(test_share=0.3)
    models = {
        "logistic": train_logistic(data["train"], C=PipelineParameter("C")),
        "network": train_network(data["train"], lr=PipelineParameter("lr")),
    }
    report = evaluate(data["test"], models)
    register(report["best"], report["accuracy"], models)


retrain_digits_taskflow()
