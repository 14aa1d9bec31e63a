from __future__ import annotations

import pytest

from airflow_mlpipe import Dataset
from airflow_mlpipe.errors import DefinitionError

RAW = Dataset.File.from_files("raw/")


@pytest.mark.parametrize("name", ["raw", "step2_input", "path_of_data", "my_PATH"])
def test_an_input_may_have_any_plain_name(name: str) -> None:
    assert RAW.as_named_input(name).name == name


@pytest.mark.parametrize("name", ["PATH", "path", "Home", "LD_PRELOAD", "pythonpath", "AIRFLOW_HOME"])
def test_a_name_that_would_change_the_process_is_refused(name: str) -> None:
    with pytest.raises(DefinitionError, match=f"input name '{name}' is not allowed.*choose another name"):
        RAW.as_named_input(name)


def test_a_malformed_name_is_refused() -> None:
    with pytest.raises(DefinitionError, match="input name 'my data' is not valid"):
        RAW.as_named_input("my data")


def test_a_place_for_the_data_is_an_absolute_path() -> None:
    with pytest.raises(DefinitionError, match="path_on_compute must be an absolute path"):
        RAW.as_mount("data")


def test_the_last_access_mode_counts_and_the_name_stays() -> None:
    bound = RAW.as_named_input("raw").as_mount("/data").as_direct()
    assert (bound.name, bound.mode, bound.path_on_compute) == ("raw", "direct", None)
