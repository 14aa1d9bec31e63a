from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.store import layout

DIGEST = "0123456789abcdef" * 4


def test_the_layout_is_pinned() -> None:
    assert layout.manifest_key(DIGEST) == f"mlpipe/v1/steps/01/{DIGEST}/manifest.json"
    assert layout.lease_key(DIGEST) == f"mlpipe/v1/steps/01/{DIGEST}/lease.json"
    assert layout.attempt_prefix("a-1") == "mlpipe/v1/attempts/a-1"
    assert layout.output_key("a-1", "model") == "mlpipe/v1/attempts/a-1/outputs/model"
    assert layout.snapshot_key(DIGEST) == f"mlpipe/v1/snapshots/{DIGEST}.tar.gz"
    assert layout.environment_lock_key(DIGEST) == f"mlpipe/v1/environments/{DIGEST}.txt"
    assert layout.journal_key("retrain", "group.train") == "mlpipe/v1/journal/retrain/group.train/-1.json"
    assert layout.journal_key("retrain", "train", 3) == "mlpipe/v1/journal/retrain/train/3.json"


@pytest.mark.parametrize("text", ["", "ab", DIGEST.upper(), DIGEST + "0", DIGEST + "\n", "../" + DIGEST])
def test_a_fingerprint_is_64_hexadecimal_digits(text: str) -> None:
    with pytest.raises(StoreError, match="64 lower-case hexadecimal digits"):
        layout.manifest_key(text)


@pytest.mark.parametrize("text", ["", ".", "..", "a/b", "a b", "-a", "a\n", "ä", "a" * 201])
def test_an_attempt_or_output_that_is_no_plain_name_is_refused(text: str) -> None:
    with pytest.raises(StoreError, match="cannot be part of a key"):
        layout.attempt_prefix(text)
    with pytest.raises(StoreError, match="cannot be part of a key"):
        layout.output_key("a", text)


def test_ids_of_dags_are_percent_encoded() -> None:
    assert layout.journal_key("übung", "a/b~") == "mlpipe/v1/journal/%C3%BCbung/a%2Fb%7E/-1.json"
    assert layout.journal_key("..", "train") == "mlpipe/v1/journal/%2E%2E/train/-1.json"


@given(st.text(min_size=1, max_size=250), st.text(min_size=1, max_size=250))
def test_any_two_ids_have_journals_of_their_own_under_names_that_disks_accept(one: str, other: str) -> None:
    key = layout.journal_key(one, "train")
    assert layout.check_key(key) == key
    assert all(len(part) <= 255 for part in key.split("/"))
    assert (key == layout.journal_key(other, "train")) == (one == other)


@pytest.mark.parametrize(
    "key", ["", "/a", "a/", "a//b", ".", "..", "a/../b", "a/./b", "a\\b", "a\nb", "a\x7f", "\udcff"]
)
def test_a_key_that_could_mean_another_place_is_refused(key: str) -> None:
    with pytest.raises(StoreError, match="rename it"):
        layout.check_key(key)


@pytest.mark.parametrize("key", ["a", "a/b.c", "...", "..a", "a b", "ü/日本", "100%", "a#b?"])
def test_any_other_relative_path_is_a_key(key: str) -> None:
    assert layout.check_key(key) == key
