"""What is remembered of remote files, and what is not."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from airflow_mlpipe.store.hash_cache import HashCache
from airflow_mlpipe.store.remote_digests import RemoteDigests
from airflow_mlpipe.store.transfer.remote_file import RemoteFile

FILE = RemoteFile("s3://bucket/a", 3, 'ETag="1"', service="http://here")
DIGEST = "ab" * 32


@pytest.fixture
def digests(tmp_path: Path) -> RemoteDigests:
    return RemoteDigests(HashCache(tmp_path / "digests.sqlite"))


def test_a_digest_is_known_to_other_processes_once_it_is_published(tmp_path: Path) -> None:
    digests = RemoteDigests(HashCache(tmp_path / "digests.sqlite"))
    digests.learn(FILE, DIGEST)
    digests.publish()

    assert RemoteDigests(HashCache(tmp_path / "digests.sqlite")).find(FILE) == DIGEST


@pytest.mark.parametrize(
    "change",
    [
        {"stamp": 'ETag="2"'},
        {"size": 4},
        {"url": "s3://bucket/b"},
        {"url": "gs://bucket/a"},
        {"service": "http://there"},
        {"stamp": None},
    ],
)
def test_it_is_not_that_of_another_file_or_state(digests: RemoteDigests, change: dict[str, Any]) -> None:
    digests.learn(FILE, DIGEST)

    assert digests.find(FILE) == DIGEST
    assert digests.find(dataclasses.replace(FILE, **change)) is None


def test_one_service_may_be_called_by_several_names(digests: RemoteDigests) -> None:
    digests.learn(dataclasses.replace(FILE, url="az://container/a"), DIGEST)

    assert digests.find(dataclasses.replace(FILE, url="abfs://container/a")) == DIGEST


def test_nothing_is_learnt_of_a_file_without_a_stamp(digests: RemoteDigests) -> None:
    digests.learn(dataclasses.replace(FILE, stamp=None), DIGEST)

    assert digests.find(dataclasses.replace(FILE, stamp=None)) is None


def test_the_digest_that_a_file_must_have_goes_before_what_was_learnt(digests: RemoteDigests) -> None:
    digests.learn(FILE, DIGEST)

    assert digests.find(dataclasses.replace(FILE, digest="cd" * 32)) == "cd" * 32


def test_a_copy_is_known_as_long_as_neither_end_changes(digests: RemoteDigests) -> None:
    copy = dataclasses.replace(FILE, url="s3://other/a", stamp='ETag="9"')
    digests.learn_copy(copy, FILE)

    assert digests.is_copy(copy, FILE)
    assert not digests.is_copy(copy, dataclasses.replace(FILE, stamp='ETag="2"'))
    assert not digests.is_copy(dataclasses.replace(copy, stamp='ETag="2"'), FILE)
    assert not digests.is_copy(FILE, copy)
    assert not digests.is_copy(dataclasses.replace(copy, stamp=None), FILE)
