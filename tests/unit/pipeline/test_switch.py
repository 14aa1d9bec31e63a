from __future__ import annotations

from typing import Any

import pytest

from airflow_mlpipe.errors import DefinitionError
from airflow_mlpipe.pipeline.switch import reuse_mode, run_max_age


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
        ({"resue": "refresh"}, "has 'resue'; it knows reuse, regenerate_outputs, max_age"),
        ({"reuse": "fresh"}, "is 'fresh'; it must be one of normal, refresh, bypass, read_only"),
        ({"regenerate_outputs": "yes"}, "is 'yes'; it must be true or false"),
        ({"reuse": "bypass", "regenerate_outputs": True}, "asks for 'bypass' and for regenerate_outputs"),
    ],
)
def test_a_misspelt_switch_is_never_taken_for_normal(section: Any, sentence: str) -> None:
    with pytest.raises(DefinitionError, match=sentence):
        reuse_mode({"mlpipe": section})


@pytest.mark.parametrize(
    ("conf", "seconds"),
    [
        (None, None),
        ({"mlpipe": {}}, None),
        ({"mlpipe": {"max_age": None}}, None),
        ({"mlpipe": {"max_age": "12 h"}}, 12 * 3600.0),
        ({"mlpipe": {"max_age": "1.5d", "reuse": "read_only"}}, 36 * 3600.0),
    ],
)
def test_a_run_says_how_old_outputs_may_be(conf: Any, seconds: float | None) -> None:
    assert run_max_age(conf) == seconds


@pytest.mark.parametrize("text", ["12", "", "0 h", "-1 d", "a day", 3600, True, ["1 d"]])
def test_an_age_that_cannot_be_read_is_not_taken_for_any_age(text: Any) -> None:
    with pytest.raises(DefinitionError, match="write a length of time above nothing"):
        run_max_age({"mlpipe": {"max_age": text}})


def test_a_misspelt_switch_is_told_whichever_is_asked_for() -> None:
    with pytest.raises(DefinitionError, match="has 'maxage'"):
        run_max_age({"mlpipe": {"maxage": "1 d"}})
