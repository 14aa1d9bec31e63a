"""From a task and its context to a recipe and a fingerprint."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Protocol

from airflow_mlpipe.errors import UserError
from airflow_mlpipe.model.entry import Command, Function, Script
from airflow_mlpipe.pipeline.azureml_compat import stands_in, with_stand_in, without_azureml
from airflow_mlpipe.pipeline.binding import Binder, Binding, InputToken, OutputToken, Token
from airflow_mlpipe.pipeline.data_libraries import with_data_libraries
from airflow_mlpipe.pipeline.definition import StepDefinition
from airflow_mlpipe.pipeline.functions.values import leaves
from airflow_mlpipe.pipeline.secrets import holds_secret, recipe_value
from airflow_mlpipe.pipeline.worker import Worker
from airflow_mlpipe.reuse.recipe import Recipe
from airflow_mlpipe.reuse.source import Code, Surroundings
from airflow_mlpipe.targets.environments import StepEnvironment

log = logging.getLogger(__name__)

# Raise it when what a step of a kind may observe changes, such as the meaning of Run.get_context().
CONTRACT = 1


@dataclass(frozen=True)
class Preparation:
    """A step that is ready to be looked up, or run.

    ``undetermined`` are sentences on parts of the recipe that are not known, so that nothing may be reused
    and nothing is stored under the fingerprint. ``azureml_compat`` says whether the step has the stand-in.
    """

    definition: StepDefinition
    binding: Binding
    around: Surroundings
    code: Code
    environment: StepEnvironment
    recipe: Recipe
    fingerprint: str
    undetermined: tuple[str, ...]
    azureml_compat: bool = False


class TaskLike(Protocol):
    """The part of a task that binding needs."""

    task_id: str
    dag: Any


def prepare(definition: StepDefinition, task: TaskLike, context: Any, worker: Worker) -> Preparation:
    """Bind, hash and write the recipe. Reads what the step reads, and runs nothing of the author's.

    Raises a kind of MLPipeError for data, code or an interpreter that is not there.
    """
    finder = worker.finder(definition.folder)
    query_results = worker.settings.cache_directory / "queries"
    binder = Binder(task, context, finder, worker.registered(), query_results)
    if definition.call is None:
        binding = binder.bind(definition.arguments, definition.inputs)
    else:
        binding = binder.bind_call(definition.call)
    for remark in binding.remarks:
        log.warning("%s: %s", definition.who, remark)
    around = worker.surroundings(definition)
    code = worker.code(definition, around)
    needs = with_data_libraries(code, definition.call, binding, around.installed)
    path = definition.python_path
    compat = stands_in(definition.azureml_compat, code, around.installed, path)
    environment = worker.environment(definition, without_azureml(needs, path) if compat else needs)
    if compat:
        environment = with_stand_in(environment)
    _refuse_secrets(definition, binding)
    recipe = _recipe(definition, task, binding, code, environment)
    undetermined = (*binding.undetermined, *environment.undetermined, *code.undetermined)
    return Preparation(
        definition, binding, around, code, environment, recipe, recipe.fingerprint(), undetermined, compat
    )


def _recipe(
    definition: StepDefinition, task: TaskLike, binding: Binding, code: Code, environment: StepEnvironment
) -> Recipe:
    salt: dict[str, Any] = {}
    if definition.reuse.reuse_version is not None:
        salt["reuse_version"] = definition.reuse.reuse_version
    if definition.reuse.reuse_scope == "dag":
        salt["dag_id"] = task.dag.dag_id
    return Recipe(
        step=_step(definition.entry),
        code=code.as_document(),
        arguments=[_argument(token) for token in binding.arguments],
        parameters=binding.parameters,
        inputs={name: bound.as_recipe() for name, bound in sorted(binding.inputs.items())},
        outputs={
            name: {"kind": "directory" if output.is_folder else "path"}
            for name, output in sorted(binding.outputs.items())
        },
        environment=environment.document,
        environment_variables={
            name: recipe_value(name, value)
            for name, value in sorted(definition.environment_variables.items())
        },
        salt=salt,
    )


def _step(entry: Script | Command | Function) -> dict[str, Any]:
    if isinstance(entry, Script):
        return {"kind": "python_script", "contract": CONTRACT, "entry": entry.script_name}
    if isinstance(entry, Function):
        returns = {"unrolls": entry.unrolls, "fields": list(entry.fields)}
        return {"kind": "python_function", "contract": CONTRACT, "entry": entry.name, **returns}
    return {"kind": "command", "contract": CONTRACT, "entry": list(entry.argv)}


def _argument(token: Token) -> Any:
    if isinstance(token, InputToken):
        return {"input": token.name}
    if isinstance(token, OutputToken):
        return {"output": token.name}
    return token


def _refuse_secrets(definition: StepDefinition, binding: Binding) -> None:
    command = definition.entry.argv if isinstance(definition.entry, Command) else ()
    for keyword, items in (("command", command), ("arguments", binding.arguments)):
        for position, item in enumerate(items, start=1):
            if isinstance(item, str) and holds_secret(item):
                raise UserError(
                    f"{definition.who}: item {position} of {keyword} holds a value that Airflow masks; "
                    "everybody on the machine can read it there, so use environment_variables"
                )
    for name, tree in binding.parameters.items():
        texts = [leaf for leaf in leaves(tree) if isinstance(leaf, str)]
        if holds_secret("\n".join(texts)):
            raise UserError(
                f"{definition.who}: parameter {name!r} holds a value that Airflow masks, and parameters are "
                "kept in the datastore; use environment_variables"
            )
