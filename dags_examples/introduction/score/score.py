"""Name the species of the flowers that were held out."""

import argparse
import csv
import json
import os
from pathlib import Path

from airflow_mlpipe import Run

parser = argparse.ArgumentParser()
parser.add_argument("--model", type=Path)
parser.add_argument("--scores", type=Path)
arguments = parser.parse_args()

means = json.loads((arguments.model / "means.json").read_text())
right = total = 0
with (
    (Path(os.environ["prepped_data"]) / "holdout.csv").open(newline="") as file,
    arguments.scores.open("w") as out,
):
    for row in csv.DictReader(file):
        species = row.pop("species")
        flower = [float(value) for value in row.values()]
        named = min(means, key=lambda name: sum((a - b) ** 2 for a, b in zip(flower, means[name])))
        out.write(f"{species},{named}\n")
        right, total = right + (named == species), total + 1

run = Run.get_context()
run.log("accuracy", right / total)
run.parent.log("accuracy", right / total)
