"""Split the flowers into those to learn from and those to score."""

import argparse
import csv
from pathlib import Path

from airflow_mlpipe import Run

parser = argparse.ArgumentParser()
parser.add_argument("--prepped_data", type=Path)
parser.add_argument("--holdout", type=int)
arguments = parser.parse_args()

run = Run.get_context()
with open(run.input_datasets["raw_data"], newline="") as file:
    rows = list(csv.DictReader(file))
for name, chosen in (
    ("train.csv", [row for number, row in enumerate(rows) if number % arguments.holdout]),
    ("holdout.csv", [row for number, row in enumerate(rows) if not number % arguments.holdout]),
):
    with (arguments.prepped_data / name).open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(chosen)
    run.log_row("rows", file=name, count=len(chosen))
