"""Put the best model, with a card that says what it is, where a service would load it from."""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--report", type=Path, required=True)
parser.add_argument("--registry", type=Path, required=True)
parser.add_argument("models", type=Path, nargs="+")
arguments = parser.parse_args()

report = json.loads(arguments.report.read_text())
best = next(path for path in arguments.models if path.name == report["best"])
shutil.copyfile(best, arguments.registry / "digits.npz")
card = {
    "model": report["best"],
    "test_accuracy": report["accuracy"][report["best"]],
    "classes": list(range(10)),
}
(arguments.registry / "card.json").write_text(json.dumps(card, indent=2, sort_keys=True))
print(f"registered {card['model']} with test accuracy {card['test_accuracy']:.3f}")
