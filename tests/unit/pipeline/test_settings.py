from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from airflow_mlpipe.errors import DefinitionError
from airflow_mlpipe.get_provider_info import OPTIONS
from airflow_mlpipe.pipeline.settings import Settings, parse_span


def test_every_documented_option_is_read_and_no_other() -> None:
    assert {field.name for field in dataclasses.fields(Settings)} == set(OPTIONS)


def test_the_defaults_lie_in_airflows_home() -> None:
    home = Path(os.environ["AIRFLOW_HOME"])
    assert Settings.read() == Settings(
        datastore=f"file://{home}/mlpipe",
        namespace="",
        read_datastores=(),
        read_only=False,
        private_datastore=f"file://{home}/mlpipe-private",
        signing_key="",
        datastores=None,
        compute_targets=None,
        environments=None,
        image_builder="",
        image_registry="",
        image_connections=(),
        work_directory=home / "mlpipe-work",
        cache_directory=home / "mlpipe-cache",
        download_cache_size=20_000_000_000,
        mount="auto",
        keep_work_directories=False,
        verify="auto",
        lease_seconds=60.0,
        reuse="normal",
        max_age=None,
        default_max_age=None,
    )


def test_options_are_read_when_they_are_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    monkeypatch.setenv("AIRFLOW__MLPIPE__VERIFY", "digest")
    monkeypatch.setenv("AIRFLOW__MLPIPE__ENVIRONMENTS", "environments.yaml")
    monkeypatch.setenv("AIRFLOW__MLPIPE__KEEP_WORK_DIRECTORIES", "true")
    settings = Settings.read()
    assert (settings.verify, settings.keep_work_directories) == ("digest", True)
    assert settings.environments == tmp_path / "environments.yaml"


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("verify", "maybe", "verify is 'maybe'; it must be auto, size, digest or none"),
        ("mount", "nfs", "mount is 'nfs'; it must be auto, fuse or download"),
        ("download_cache_size", "much", "'much'; write a size such as 20 GB"),
        ("keep_work_directories", "perhaps", "'perhaps'; it must be True or False"),
        ("lease_seconds", "soon", "lease_seconds is 'soon'; it must be a number above 0"),
        ("lease_seconds", "0", "lease_seconds is '0'; it must be a number above 0"),
        ("lease_seconds", "inf", "lease_seconds is 'inf'; it must be a number above 0"),
        ("lease_seconds", "nan", "lease_seconds is 'nan'; it must be a number above 0"),
        ("datastore", " ", "datastore is empty; name a folder or an fsspec URL"),
        ("private_datastore", "", "private_datastore is empty; name a folder or an fsspec URL"),
        ("reuse", "sometimes", "reuse is 'sometimes'; it must be one of normal, refresh, bypass, read_only"),
        ("read_only", "ja", "read_only is 'ja'; it must be True or False"),
        ("max_age", "90", "max_age is '90'; write a length of time above nothing, such as 12 h or 7 d"),
        ("default_max_age", "0 d", "default_max_age is '0 d'; write a length of time above nothing"),
        ("namespace", "a/b", "namespace names the namespace 'a/b'; use up to 63 letters"),
        ("namespace", "..", r"namespace names the namespace '\.\.'; use up to 63 letters"),
        ("namespace", "x" * 64, "use up to 63 letters"),
        ("read_datastores", "/a, namespace:b c", "read_datastores names the namespace 'b c'"),
        ("image_registry", "reg.example.com/a:1", "write a repository without a tag or digest"),
        ("image_registry", "Not A Name", "is no name of an image"),
        ("signing_key", "connection:", "must be connection:CONN_ID or variable:KEY"),
        ("signing_key", "vault:key", "must be connection:CONN_ID or variable:KEY"),
    ],
)
def test_a_wrong_value_is_told_by_its_option(
    option: str, value: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"AIRFLOW__MLPIPE__{option.upper()}", value)
    with pytest.raises(DefinitionError, match=sentence):
        Settings.read()


def test_a_key_that_was_put_into_the_option_itself_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__MLPIPE__SIGNING_KEY", "c2VjcmV0LXNlY3JldA==")
    with pytest.raises(DefinitionError, match="is never the key itself") as raised:
        Settings.read()
    assert "c2VjcmV0" not in str(raised.value)


@pytest.mark.parametrize("place", ["", "connection:mlpipe_signing", "variable:keys/mlpipe"])
def test_the_place_of_a_key_is_read(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__MLPIPE__SIGNING_KEY", place)
    assert Settings.read().signing_key == place


def test_a_namespace_is_a_folder_of_the_datastore(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__MLPIPE__DATASTORE", "s3://bucket/ml/")
    assert Settings.read().datastore_url == "s3://bucket/ml/"
    monkeypatch.setenv("AIRFLOW__MLPIPE__NAMESPACE", "team_vision")
    assert Settings.read().datastore_url == "s3://bucket/ml/namespaces/team_vision"


def test_read_datastores_are_urls_and_namespaces_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__MLPIPE__DATASTORE", "/store")
    monkeypatch.setenv("AIRFLOW__MLPIPE__READ_DATASTORES", " namespace:b ,s3://released,, namespace: ")
    assert Settings.read().read_datastores == ("/store/namespaces/b", "s3://released", "/store")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90 s", 90), ("90s", 90), ("5 min", 300), ("12h", 43200), (" 7 d ", 604800), ("0.5 d", 43200)],
)
def test_a_length_of_time_is_a_number_and_a_unit(text: str, seconds: float) -> None:
    assert parse_span(text) == seconds


@pytest.mark.parametrize("text", ["", "7", "d", "7 w", "-7 d", "0 s", "0.0 d", "1e3 s", "7 d 2 h", "nan d"])
def test_what_is_no_length_of_time_is_none(text: str) -> None:
    assert parse_span(text) is None


def test_ages_are_in_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__MLPIPE__MAX_AGE", "90 d")
    monkeypatch.setenv("AIRFLOW__MLPIPE__DEFAULT_MAX_AGE", "12 h")
    settings = Settings.read()
    assert (settings.max_age, settings.default_max_age) == (90 * 86400, 12 * 3600)
