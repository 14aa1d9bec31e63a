from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from airflow_mlpipe.errors import DefinitionError
from airflow_mlpipe.model.reuse_options import ReuseOptions


def test_by_default_the_step_decides_and_everything_may_be_reused() -> None:
    options = ReuseOptions()
    assert (options.allow_reuse, options.max_age, options.reuse_scope) == (None, None, "global")


@pytest.mark.parametrize(
    "option",
    [
        {"max_age": timedelta(0)},
        {"max_age": timedelta(days=-1)},
        {"reuse_scope": "team"},
        {"code_scope": "functions"},
        {"allow_resue": False},
    ],
)
def test_an_option_that_means_nothing_is_refused_by_its_name(option: dict[str, Any]) -> None:
    with pytest.raises(DefinitionError, match=f"ReuseOptions.{next(iter(option))}"):
        ReuseOptions(**option)
