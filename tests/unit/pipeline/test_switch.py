from __future__ import annotations

from typing import Any

import pytest

from airflow_mlpipe.errors import DefinitionError
from airflow_mlpipe.pipeline.switch import reuse_mode


@pytest.mark.parametrize(
    ("conf", "mode"),
    [
        (None, "normal"),
        ({}, "normal"),
        ({"other": 1}, "normal"),
        ({"mlpipe": None}, "normal"),
        ({"mlpipe": {}}, "normal"),
        *(({"mlpipe": {"reuse": mode}}, mode) for mode in ("normal", "refresh", "bypass", "read_only")),
        ({"mlpipe": {"regenerate_outputs": True}}, "refresh"),
        ({"mlpipe": {"regenerate_outputs": False}}, "normal"),
        ({"mlpipe": {"regenerate_outputs": True, "reuse": "refresh"}}, "refresh"),
        ({"mlpipe": {"regenerate_outputs": False, "reuse": "bypass"}}, "bypass"),
    ],
)
def test_a_run_says_how_it_reuses(conf: Any, mode: str) -> None:
    assert reuse_mode(conf) == mode


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        ("refresh", "is 'refresh'; it must be an object such as"),
        ({"resue": "refresh"}, "has 'resue'; it knows reuse and regenerate_outputs"),
        ({"reuse": "fresh"}, "is 'fresh'; it must be one of normal, refresh, bypass, read_only"),
        ({"regenerate_outputs": "yes"}, "is 'yes'; it must be true or false"),
        ({"reuse": "bypass", "regenerate_outputs": True}, "asks for 'bypass' and for regenerate_outputs"),
    ],
)
def test_a_misspelt_switch_is_never_taken_for_normal(section: Any, sentence: str) -> None:
    with pytest.raises(DefinitionError, match=sentence):
        reuse_mode({"mlpipe": section})
