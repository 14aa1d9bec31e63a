"""Datastores by name: which texts name data in them."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_mlpipe import Dataset, Datastore, OutputFileDatasetConfig
from airflow_mlpipe.errors import DefinitionError
from airflow_mlpipe.model.datastore import address_of

RAW = Datastore("raw")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (RAW, "datastore://raw/"),
        ((RAW, "2026/*.csv"), "datastore://raw/2026/*.csv"),
        ((RAW, "/2026/"), "datastore://raw/2026/"),
        (RAW.path("a b/ü#?.csv"), "datastore://raw/a b/ü#?.csv"),
        (Datastore.default().path("x"), "datastore://default/x"),
        ("datastore://raw", "datastore://raw"),
        ("s3://bucket/../raw", "s3://bucket/../raw"),
        ("../beside/raw.csv", "../beside/raw.csv"),
    ],
)
def test_data_is_named_by_a_text(value: Any, text: str) -> None:
    assert address_of(value) == text


@pytest.mark.parametrize(
    "value",
    [None, "", " ", "a\0b", b"raw", 1, [RAW, "x"], (RAW, 1), (RAW, "a", "b"), ("raw", "x"), (RAW, None)],
)
def test_anything_else_names_no_data(value: Any) -> None:
    with pytest.raises(DefinitionError, match="names no data"):
        address_of(value)


@pytest.mark.parametrize("name", ["", "a/b", "../etc", "-a", "a b", "a:b", "ä", "x" * 201])
def test_a_datastore_name_fits_into_a_url(name: str) -> None:
    with pytest.raises(DefinitionError, match="is not valid"):
        Datastore(name)
    with pytest.raises(DefinitionError, match="is not valid"):
        address_of(f"datastore://{name.replace('/', ' ')}/x")


@pytest.mark.parametrize("path", ["..", "../other", "a/../../b", "a/.."])
def test_a_path_stays_in_its_datastore(path: str) -> None:
    with pytest.raises(DefinitionError, match="climbs out"):
        RAW.path(path)
    with pytest.raises(DefinitionError, match="climbs out"):
        address_of(f"datastore://raw/{path}")


def test_a_dataset_takes_places_as_azure_ml_writes_them() -> None:
    assert Dataset.File.from_files((RAW, "2026/")).paths == ("datastore://raw/2026/",)
    several = Dataset.Tabular.from_delimited_files([(RAW, "a.csv"), RAW, "b.csv"])
    assert several.paths == ("datastore://raw/a.csv", "datastore://raw/", "b.csv")


def test_a_dataset_says_what_is_wrong_with_a_place() -> None:
    with pytest.raises(DefinitionError, match="climbs out"):
        Dataset.File.from_files("datastore://raw/../other")


def test_a_destination_takes_a_place_with_templates() -> None:
    output = OutputFileDatasetConfig("model", destination=(RAW, "{run-id}/{output-name}"))
    assert output.destination == "datastore://raw/{run-id}/{output-name}"
    assert OutputFileDatasetConfig("model", destination=Datastore.default()).destination == (
        "datastore://default/"
    )


def test_datastores_of_one_name_are_equal() -> None:
    assert Datastore("raw") == Datastore("raw") != Datastore("other")
    assert repr(Datastore("raw")) == "Datastore(name='raw')"
