import argparse

from azureml.core import Run
from azureml.core.model import Model

parser = argparse.ArgumentParser()
parser.add_argument("--model_name", type=str, required=True)
args = parser.parse_args()

run = Run.get_context()
ws = run.experiment.workspace

best_run, best_accuracy = None, -1
for child in run.parent.get_children():
    accuracy = child.get_metrics().get("accuracy", -1)
    print(child.name, accuracy)
    if accuracy > best_accuracy:
        best_run, best_accuracy = child, accuracy

columns = best_run.get_tags()["columns"]
model = Model.register(
    workspace=ws,
    model_path=run.input_datasets[columns] + "/model.json",
    model_name=args.model_name,
    tags={"columns": columns},
    properties={"accuracy": best_accuracy},
)
run.log("accuracy", best_accuracy)
print("registered", model.name)
