import argparse
import csv
import json
import os
from collections import defaultdict

from azureml.core import Dataset, Run

parser = argparse.ArgumentParser()
parser.add_argument("--columns", type=str, help="which columns to learn from, by their beginning")
parser.add_argument("--model_dir", type=str)
args = parser.parse_args()

run = Run.get_context()
ws = run.experiment.workspace
dataset = Dataset.get_by_name(ws, name="flowers")
with dataset.mount() as mount_context:
    path = os.path.join(mount_context.mount_point, "iris.csv")
    with open(path, newline="") as f:
        rows = list(csv.DictReader(f))


def features(row):
    return [float(value) for name, value in row.items() if name.startswith(args.columns)]


flowers = defaultdict(list)
for row in rows:
    flowers[row["species"]].append(features(row))
means = {name: [sum(column) / len(column) for column in zip(*group)] for name, group in flowers.items()}

right = 0
for row in rows:
    distances = {name: sum((a - b) ** 2 for a, b in zip(features(row), mean)) for name, mean in means.items()}
    right += min(distances, key=distances.get) == row["species"]

run.log("accuracy", right / len(rows))
run.tag("columns", args.columns)
os.makedirs(args.model_dir, exist_ok=True)
with open(os.path.join(args.model_dir, "model.json"), "w") as f:
    json.dump({"columns": args.columns, "means": means}, f, indent=2, sort_keys=True)
