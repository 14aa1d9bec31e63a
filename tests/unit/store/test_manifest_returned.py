from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from airflow_mlpipe.store.manifest import ManifestReturned

numbers = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), json_values, max_size=4))
def test_what_was_returned_survives_being_written_and_read(values: dict[str, Any]) -> None:
    returned = ManifestReturned.of(values, ["model", "frame"], unrolled=True)
    again = ManifestReturned.model_validate_json(returned.model_dump_json())
    assert again == returned
    assert repr(again.values) == repr(returned.values)


@pytest.mark.parametrize(
    ("written", "damaged"),
    [('"accuracy":0.75', '"accuracy":0.95'), ('"unrolled":true', '"unrolled":false'), ('"model"', '"modes"')],
)
def test_a_changed_value_is_damage(written: str, damaged: str) -> None:
    text = ManifestReturned.of({"accuracy": 0.75}, ["model"], unrolled=True).model_dump_json()
    assert written in text
    with pytest.raises(ValidationError, match="not those of their digest"):
        ManifestReturned.model_validate_json(text.replace(written, damaged))
