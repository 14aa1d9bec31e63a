"""What Airflow is told of the provider, against Airflow's own schema."""

from __future__ import annotations

import importlib
import importlib.util
import json
from importlib.metadata import distribution, entry_points
from importlib.resources import files
from typing import Any

import jsonschema
import pytest

from airflow_mlpipe.get_provider_info import OPTIONS, get_provider_info
from airflow_mlpipe.version import __version__


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(files("airflow").joinpath("provider_info.schema.json").read_text())
    return document


def test_the_metadata_fits_airflows_schema(schema: dict[str, Any]) -> None:
    jsonschema.validate(get_provider_info(), schema)


def test_the_schema_refuses_an_option_without_a_description(schema: dict[str, Any]) -> None:
    info = get_provider_info()
    option = {name: value for name, value in OPTIONS["verify"].items() if name != "description"}
    info["config"]["mlpipe"]["options"] = {"verify": option}
    with pytest.raises(jsonschema.ValidationError, match="'description' is a required property"):
        jsonschema.validate(info, schema)


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_is_explained_and_has_a_default_of_its_type(name: str) -> None:
    option = OPTIONS[name]
    assert option["description"].endswith(".")
    assert len(option["description"]) > 40
    assert option["version_added"]
    assert isinstance(option["default"], str)
    if option["type"] == "integer":
        assert str(int(option["default"])) == option["default"]
    if option["type"] == "boolean":
        assert option["default"] in ("True", "False")


def test_the_package_name_is_that_of_the_installed_distribution() -> None:
    installed = distribution("airflow-mlpipe")
    assert get_provider_info()["package-name"] == installed.metadata["Name"]
    assert installed.version == __version__


@pytest.mark.parametrize("group", ["apache_airflow_provider", "airflow.plugins"])
def test_the_entry_points_resolve(group: str) -> None:
    ours = [point for point in entry_points(group=group) if point.value.startswith("airflow_mlpipe.")]
    assert len(ours) == 1
    assert callable(ours[0].load())


@pytest.mark.parametrize("role", ["operators", "sensors", "triggers", "hooks"])
def test_the_modules_that_are_named_exist(role: str) -> None:
    modules = [module for entry in get_provider_info()[role] for module in entry["python-modules"]]
    assert modules
    assert [module for module in modules if importlib.util.find_spec(module) is None] == []


def test_the_decorator_that_is_named_exists() -> None:
    (decorator,) = get_provider_info()["task-decorators"]
    module, _, name = decorator["class-name"].rpartition(".")
    assert callable(getattr(importlib.import_module(module), name))


def test_each_call_gives_metadata_of_its_own() -> None:
    get_provider_info()["operators"].clear()
    assert get_provider_info()["operators"]
