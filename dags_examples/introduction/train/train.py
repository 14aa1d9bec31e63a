"""Learn the mean flower of each species."""

import argparse
import csv
import json
import os
from collections import defaultdict
from pathlib import Path

from airflow_mlpipe import Run

parser = argparse.ArgumentParser()
parser.add_argument("--prepped_data", type=Path)
parser.add_argument("--model", type=Path)
arguments = parser.parse_args()

flowers = defaultdict(list)
with (arguments.prepped_data / "train.csv").open(newline="") as file:
    for row in csv.DictReader(file):
        flowers[row.pop("species")].append([float(value) for value in row.values()])
means = {name: [sum(column) / len(column) for column in zip(*rows)] for name, rows in flowers.items()}

os.makedirs(arguments.model, exist_ok=True)
(arguments.model / "means.json").write_text(json.dumps(means, indent=2, sort_keys=True))
Run.get_context().log("species", len(means))
