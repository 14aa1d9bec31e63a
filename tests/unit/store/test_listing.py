from __future__ import annotations

import json
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.store import listing
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.digest import sha256_file
from airflow_mlpipe.store.listing import ListingUnusable, describe_output, entries_of
from airflow_mlpipe.store.manifest import ManifestOutput

names = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/\\"), min_size=1, max_size=5
).filter(lambda name: name not in (".", ".."))


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders of more than two files have a listing."""
    monkeypatch.setattr(listing, "INLINE", 2)


def make(root: Path, count: int) -> Path:
    (root / "inner").mkdir(parents=True)
    for number in range(count):
        path = root / f"{number}" if number % 2 else root / "inner" / f"{number}"
        path.write_bytes(b"." * number)
        path.chmod(0o755 if number % 3 == 0 else 0o644)
    return root


def described(datastore: Datastore, path: Path) -> ManifestOutput:
    output = describe_output(datastore, "attempt-1", "data", path)
    assert output is not None
    return output


def rewrite(datastore: Datastore, output: ManifestOutput, data: bytes) -> ManifestOutput:
    """The listing's bytes replaced, and *output* made to agree with them."""
    assert output.listing is not None
    datastore.write(output.listing.key, data)
    digest = datastore.digest(output.listing.key)
    return output.model_copy(update={"listing": output.listing.model_copy(update={"sha256": digest})})


@pytest.mark.parametrize("count", [0, 1, 2, 3, 50])
def test_the_files_of_a_folder_are_read_back(datastore: Datastore, tmp_path: Path, count: int) -> None:
    output = described(datastore, make(tmp_path / "data", count))
    assert (output.listing is None) == (count <= 2)
    entries = list(entries_of(datastore, output))
    assert len(entries) == count
    assert [entry.path for entry in entries] == sorted(entry.path for entry in entries)
    for entry in entries:
        path = tmp_path / "data" / entry.path
        assert (entry.size, entry.digest) == (path.stat().st_size, sha256_file(path))
        assert entry.executable == bool(path.stat().st_mode & 0o100)


@settings(max_examples=40)
@given(st.dictionaries(names, st.binary(max_size=3), max_size=6))
def test_any_names_survive_both_forms(files: dict[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        datastore = Datastore.open(f"{folder}/store")
        Path(folder, "data").mkdir()
        for name, data in files.items():
            Path(folder, "data", name).write_bytes(data)
        output = described(datastore, Path(folder, "data"))
        found = {entry.path: entry.size for entry in entries_of(datastore, output)}
    assert found == {name: len(data) for name, data in files.items()}


def test_a_listing_is_json_lines_under_the_attempt(local: Datastore, tmp_path: Path) -> None:
    output = described(local, make(tmp_path / "data", 3))
    assert output.entries == ()
    assert output.listing is not None
    assert output.listing.files == 3
    assert output.listing.key == "mlpipe/v1/attempts/attempt-1/listings/data.jsonl"
    lines = (local.read(output.listing.key) or b"").splitlines()
    assert [json.loads(line) for line in lines[:2]] == [
        {"schema_version": 1},
        {"path": "1", "size": 1, "digest": sha256_file(tmp_path / "data" / "1"), "executable": False},
    ]
    assert len(lines) == 4


def test_one_file_has_no_entries_and_nothing_is_no_output(local: Datastore, tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(b"weights")
    assert list(entries_of(local, described(local, tmp_path / "model"))) == []
    assert describe_output(local, "attempt-1", "data", tmp_path / "none") is None


def test_a_name_that_is_no_key_is_refused(local: Datastore, tmp_path: Path) -> None:
    make(tmp_path / "data", 4)
    (tmp_path / "data" / "back\\slash").touch()
    with pytest.raises(StoreError, match="backslashes"):
        describe_output(local, "attempt-1", "data", tmp_path / "data")


def test_a_missing_listing_is_unusable(datastore: Datastore, tmp_path: Path) -> None:
    output = described(datastore, make(tmp_path / "data", 3))
    assert output.listing is not None
    datastore.delete(output.listing.key)
    with pytest.raises(ListingUnusable, match=r"data\.jsonl is missing"):
        list(entries_of(datastore, output))


def test_a_listing_with_other_bytes_is_unusable_before_its_first_file(
    datastore: Datastore, tmp_path: Path
) -> None:
    output = described(datastore, make(tmp_path / "data", 3))
    assert output.listing is not None
    data = datastore.read(output.listing.key) or b""
    datastore.write(output.listing.key, data.replace(b'"size":1', b'"size":2'))
    with pytest.raises(ListingUnusable, match=f"instead of {output.listing.sha256}"):
        next(entries_of(datastore, output))


def drop_a_line(lines: list[bytes]) -> list[bytes]:
    return lines[:-1]


def repeat_a_line(lines: list[bytes]) -> list[bytes]:
    return [*lines, lines[-1]]


def exchange_lines(lines: list[bytes]) -> list[bytes]:
    return [lines[0], lines[2], lines[1], lines[3]]


def a_later_schema(lines: list[bytes]) -> list[bytes]:
    return [b'{"schema_version":2}\n', *lines[1:]]


def no_header(lines: list[bytes]) -> list[bytes]:
    return lines[1:]


def half_a_line(lines: list[bytes]) -> list[bytes]:
    return [*lines[:-1], lines[-1][:20]]


def a_path_that_leads_out(lines: list[bytes]) -> list[bytes]:
    return [lines[0], lines[1].replace(b'"path":"1"', b'"path":"../1"'), *lines[2:]]


def another_field(lines: list[bytes]) -> list[bytes]:
    return [*lines[:-1], lines[-1].replace(b"{", b'{"surprise":1,')]


def no_bytes(lines: list[bytes]) -> list[bytes]:
    return []


@pytest.mark.parametrize(
    "change",
    [
        drop_a_line,
        repeat_a_line,
        exchange_lines,
        a_later_schema,
        no_header,
        half_a_line,
        a_path_that_leads_out,
        another_field,
        no_bytes,
    ],
)
def test_what_is_no_listing_is_unusable_even_with_the_right_digest(
    local: Datastore, tmp_path: Path, change: Callable[[list[bytes]], list[bytes]]
) -> None:
    output = described(local, make(tmp_path / "data", 3))
    assert output.listing is not None
    lines = (local.read(output.listing.key) or b"").splitlines(keepends=True)
    with pytest.raises(
        ListingUnusable, match=r"its listing mlpipe/v1/attempts/attempt-1/listings/data\.jsonl "
    ):
        list(entries_of(local, rewrite(local, output, b"".join(change(lines)))))


def test_nothing_is_left_in_the_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Datastore.open(f"memory://{uuid.uuid4().hex}")
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    output = described(store, make(tmp_path / "data", 5))
    entries = entries_of(store, output)
    next(entries)
    assert any((tmp_path / "temporary").iterdir())
    entries.close()  # type: ignore[attr-defined]
    assert not any((tmp_path / "temporary").iterdir())
