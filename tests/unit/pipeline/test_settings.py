from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from airflow_mlpipe.errors import DefinitionError
from airflow_mlpipe.get_provider_info import OPTIONS
from airflow_mlpipe.pipeline.settings import Settings


def test_every_documented_option_is_read_and_no_other() -> None:
    assert {field.name for field in dataclasses.fields(Settings)} == set(OPTIONS)


def test_the_defaults_lie_in_airflows_home() -> None:
    home = Path(os.environ["AIRFLOW_HOME"])
    assert Settings.read() == Settings(
        datastore=f"file://{home}/mlpipe",
        compute_targets=None,
        environments=None,
        work_directory=home / "mlpipe-work",
        cache_directory=home / "mlpipe-cache",
        keep_work_directories=False,
        verify="size",
        lease_seconds=60.0,
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
        ("verify", "maybe", "verify is 'maybe'; it must be size, digest or none"),
        ("keep_work_directories", "perhaps", "'perhaps'; it must be True or False"),
        ("lease_seconds", "soon", "lease_seconds is 'soon'; it must be a number above 0"),
        ("lease_seconds", "0", "lease_seconds is '0'; it must be a number above 0"),
        ("lease_seconds", "inf", "lease_seconds is 'inf'; it must be a number above 0"),
        ("lease_seconds", "nan", "lease_seconds is 'nan'; it must be a number above 0"),
    ],
)
def test_a_wrong_value_is_told_by_its_option(
    option: str, value: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"AIRFLOW__MLPIPE__{option.upper()}", value)
    with pytest.raises(DefinitionError, match=sentence):
        Settings.read()
