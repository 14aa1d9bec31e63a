"""What a step's process opens with credentials that it inherited."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from airflow_mlpipe import access
from airflow_mlpipe.access import Access
from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.handing import handed_over
from airflow_mlpipe.records import CREDENTIALS_VARIABLE, HandedCredentials
from airflow_mlpipe.runtime import credentials

RAW, TEAM = {"key": "raw"}, {"key": "team"}
HANDED = HandedCredentials(
    {"s3://raw/daily": 0, "s3://raw/daily/team": 1, "https://acme.org": 0}, [RAW, TEAM]
)

ASK = """
import os, sys
from airflow_mlpipe import access
from airflow_mlpipe.runtime import credentials
credentials.install()
credentials.install()
print(access.access_to("s3://raw/daily/x").options)
"""


@pytest.fixture(autouse=True)
def own_resolver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "_resolver", access.as_it_is)


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("s3://raw/daily", RAW),
        ("s3://raw/daily/", RAW),
        ("s3://raw/daily/2026/a.csv", RAW),
        ("s3://raw/daily/team/a.csv", TEAM),
        ("s3://raw/daily/teams/a.csv", RAW),
        ("s3://raw/dailyx", {}),
        ("s3://raw", {}),
        ("https://acme.org/x?sig=a/b", RAW),
        ("https://acme.org.evil/x", {}),
        ("/raw/daily", {}),
    ],
)
def test_a_url_is_opened_with_what_was_handed_for_it_and_nothing_else(url: str, options: Any) -> None:
    assert credentials.access_to(url, HANDED) == Access(url, options)


def test_a_name_of_a_datastore_means_nothing_in_a_step() -> None:
    with pytest.raises(StoreError, match="use its URL"):
        credentials.access_to("datastore://raw/x", HANDED)


@pytest.mark.parametrize("has_memfd", [True, False])
def test_a_child_reads_what_it_inherits_as_often_as_it_likes(
    has_memfd: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    if not has_memfd:
        monkeypatch.delattr(os, "memfd_create")
    large = {"key": "x" * 200_000}
    with handed_over(HandedCredentials({"s3://raw": 0}, [large])) as descriptor:
        assert descriptor is not None
        assert list(tmp_path.iterdir()) == []
        assert ask(descriptor) == ask(descriptor) == str(large)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_nothing_is_handed_over_when_nothing_is_needed() -> None:
    with handed_over(HandedCredentials({}, [])) as descriptor:
        assert descriptor is None


def test_a_child_that_inherits_no_descriptor_has_no_credentials(tmp_path: Path) -> None:
    with handed_over(HANDED) as descriptor:
        assert ask(descriptor, inherits=False) == "{}"


def test_another_file_under_the_number_is_not_taken_for_credentials(tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    other.write_text(json.dumps({"urls": {}, "options": []}))
    with other.open() as stream:
        assert ask(stream.fileno()) == "{}"


def test_a_process_that_was_handed_nothing_keeps_its_own_way(monkeypatch: pytest.MonkeyPatch) -> None:
    own = Access("s3://raw/x", {"key": "of the worker"})
    access.resolve_with(lambda url: own)
    monkeypatch.delenv(CREDENTIALS_VARIABLE, raising=False)
    credentials.install()
    assert access.access_to("s3://raw/x") is own


def test_credentials_are_not_in_what_is_printed() -> None:
    assert "team" not in repr(HandedCredentials({}, [TEAM]))


def ask(descriptor: int | None, *, inherits: bool = True) -> str:
    """The options that a fresh interpreter has for a URL."""
    assert descriptor is not None
    environment = {**os.environ, CREDENTIALS_VARIABLE: str(descriptor)}
    ran = subprocess.run(
        [sys.executable, "-c", ASK],
        env=environment,
        pass_fds=(descriptor,) if inherits else (),
        capture_output=True,
        text=True,
        check=True,
    )
    return ran.stdout.strip()
