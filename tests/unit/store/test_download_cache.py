"""The cache of downloads: its limit, what becomes of files that somebody wrote into, and many at once."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import stat
import tempfile
import time
import uuid
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from airflow_mlpipe.store.download_cache import DownloadCache, is_untouched

ANY = 10**12


@dataclass
class Ticks:
    """A clock that goes on by a second with each look."""

    now: int = 1_700_000_000 * 10**9

    def __call__(self) -> int:
        self.now += 10**9
        return self.now


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "downloads"


def digest_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def bring(cache: DownloadCache, content: bytes, target: Path | None = None, *, own: bool = False) -> None:
    """What a download does."""
    digest = digest_of(content)
    claim = cache.claim(digest, wait=True)
    assert claim is not None
    if claim.arrived is None:
        os.write(claim.descriptor, content)
        cache.settle(claim, digest, target, executable=False, own=own)
    claim.close()


def give(cache: DownloadCache, content: bytes, target: Path, *, own: bool = False) -> bool:
    return cache.give(digest_of(content), len(content), target, executable=False, own=own)


def _is_open_twice(path: Path) -> bool:
    """Whether this process has *path* open two times."""
    links = [os.path.realpath(link) for link in Path("/proc/self/fd").iterdir()]
    return links.count(str(path)) == 2


def test_what_was_brought_is_given(folder: Path, tmp_path: Path) -> None:
    cache = DownloadCache(folder, ANY)
    bring(cache, b"bytes", tmp_path / "first")

    assert give(DownloadCache(folder, ANY), b"bytes", tmp_path / "second")
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes() == b"bytes"
    assert (tmp_path / "first").samefile(tmp_path / "second")
    assert not give(cache, b"other", tmp_path / "third")


@pytest.mark.parametrize("own", [True, False])
def test_a_file_takes_the_place_of_another(folder: Path, tmp_path: Path, own: bool) -> None:
    cache = DownloadCache(folder, ANY)
    bring(cache, b"bytes")
    (tmp_path / "target").write_bytes(b"before")

    assert give(cache, b"bytes", tmp_path / "target", own=own)
    assert give(cache, b"bytes", tmp_path / "target", own=own)

    assert (tmp_path / "target").read_bytes() == b"bytes"


@pytest.mark.parametrize("damage", ["written", "cut off", "writable"])
def test_a_file_that_somebody_wrote_into_is_dropped(
    folder: Path, tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    cache = DownloadCache(folder, ANY)
    shared = tmp_path / "shared"
    bring(cache, b"bytes", shared)
    shared.chmod(0o644)
    if damage == "written":
        shared.write_bytes(b"BYTES")
    if damage == "cut off":
        os.truncate(shared, 2)
    if damage != "writable":
        shared.chmod(0o444)

    assert not is_untouched(shared)
    assert not give(cache, b"bytes", tmp_path / "next")
    assert not (tmp_path / "next").exists()
    assert "was written into" in caplog.text
    bring(cache, b"bytes")
    assert give(cache, b"bytes", tmp_path / "next")


def test_an_own_copy_may_be_written_without_harm(folder: Path, tmp_path: Path) -> None:
    cache = DownloadCache(folder, ANY)
    bring(cache, b"bytes", tmp_path / "own", own=True)
    (tmp_path / "own").write_bytes(b"changed")

    assert give(cache, b"bytes", tmp_path / "next")
    assert (tmp_path / "next").read_bytes() == b"bytes"


@pytest.mark.parametrize("error", [errno.EXDEV, errno.EMLINK, errno.EPERM])
def test_where_links_are_impossible_a_read_only_copy_is_given(
    folder: Path, tmp_path: Path, error: int
) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise OSError(error, os.strerror(error))

    cache = DownloadCache(folder, ANY, link=refuse)
    bring(cache, b"bytes", tmp_path / "first")
    assert give(cache, b"bytes", tmp_path / "second")

    for name in ("first", "second"):
        status = (tmp_path / name).stat()
        assert (status.st_nlink, stat.S_IMODE(status.st_mode) & 0o222) == (1, 0)


def test_those_go_that_were_not_used_for_longest(folder: Path, tmp_path: Path) -> None:
    cache = DownloadCache(folder, 30, clock=Ticks())
    for content in (b"first.....", b"second....", b"third....."):
        bring(cache, content)
    give(cache, b"first.....", tmp_path / "used")
    bring(cache, b"fourth....")
    cache.trim()

    present = [
        give(cache, content, tmp_path / "x") for content in (b"first.....", b"second....", b"third.....")
    ]
    assert present == [True, False, True]


def test_who_was_given_a_file_keeps_it_when_it_goes(folder: Path, tmp_path: Path) -> None:
    cache = DownloadCache(folder, ANY)
    bring(cache, b"bytes", tmp_path / "kept")

    cache.empty()

    assert (tmp_path / "kept").read_bytes() == b"bytes"
    assert not give(cache, b"bytes", tmp_path / "x")


def test_a_claim_is_held_by_one_at_a_time(folder: Path) -> None:
    cache = DownloadCache(folder, ANY)
    claim = cache.claim("ab" * 32, wait=False)
    assert claim is not None

    assert cache.claim("ab" * 32, wait=False) is None
    assert cache.claim("cd" * 32, wait=False) is not None
    claim.close()
    assert cache.claim("ab" * 32, wait=False) is not None


def test_who_waits_for_a_claim_learns_what_came(folder: Path) -> None:
    cache = DownloadCache(folder, ANY)
    claim = cache.claim("ab" * 32, wait=False)
    assert claim is not None
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(cache.claim, "ab" * 32, wait=True)
        while not _is_open_twice(claim.path):
            time.sleep(0.001)
        os.write(claim.descriptor, b"bytes")
        cache.settle(claim, digest_of(b"bytes"), None, executable=False, own=False)
        claim.close()
        other = waiting.result(timeout=60)

    assert other is not None
    assert other.arrived == digest_of(b"bytes")
    other.close()


def test_who_waits_for_a_claim_that_is_given_up_gets_it(folder: Path) -> None:
    cache = DownloadCache(folder, ANY)
    claim = cache.claim("ab" * 32, wait=False)
    assert claim is not None
    os.write(claim.descriptor, b"half")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(cache.claim, "ab" * 32, wait=True)
        claim.close()
        other = waiting.result(timeout=60)

    assert other is not None
    assert other.arrived is None
    assert os.fstat(other.descriptor).st_size == 0
    other.close()


@pytest.mark.parametrize("mode", [0o644, 0o444])
def test_what_a_killed_process_left_is_not_used_and_not_emptied(
    folder: Path, tmp_path: Path, mode: int
) -> None:
    cache = DownloadCache(folder, ANY)
    left = folder / "arriving" / ("ab" * 32)
    left.parent.mkdir(parents=True)
    left.write_bytes(b"left")
    left.chmod(mode)
    (tmp_path / "given").hardlink_to(left)

    claim = cache.claim("ab" * 32, wait=True)

    assert claim is not None
    assert os.fstat(claim.descriptor).st_size == 0
    assert (tmp_path / "given").read_bytes() == b"left"
    claim.close()


def test_trimming_clears_what_killed_processes_left_but_nothing_that_is_coming(folder: Path) -> None:
    cache = DownloadCache(folder, ANY)
    coming = cache.claim("ab" * 32, wait=True)
    (folder / "arriving" / ("cd" * 32)).write_bytes(b"left")

    cache.trim()

    assert coming is not None
    assert [path.name for path in (folder / "arriving").iterdir()] == ["ab" * 32]
    coming.close()


LIMIT = 1000
contents = st.builds(
    lambda letter, size: letter * size, st.sampled_from([b"a", b"b", b"c"]), st.integers(0, 600)
)


class Steps(RuleBasedStateMachine):
    """Steps of one machine that download files, share them, and now and then write into them."""

    def __init__(self) -> None:
        super().__init__()
        self.scratch = tempfile.TemporaryDirectory(prefix="mlpipe-cache-")
        self.folder = Path(self.scratch.name)
        self.cache = DownloadCache(self.folder / "downloads", LIMIT, clock=Ticks())
        self.given: dict[Path, bytes] = {}

    def teardown(self) -> None:
        self.scratch.cleanup()

    def place(self) -> Path:
        return self.folder / "steps" / uuid.uuid4().hex

    @rule(content=contents, own=st.booleans())
    def download(self, content: bytes, own: bool) -> None:
        place = self.place()
        bring(self.cache, content, place, own=own)
        self.given[place] = content

    @rule(content=contents, own=st.booleans())
    def ask(self, content: bytes, own: bool) -> None:
        place = self.place()
        if give(self.cache, content, place, own=own):
            self.given[place] = content
        else:
            assert not place.exists()

    @precondition(lambda self: self.given)
    @rule(data=st.data(), written=st.binary(max_size=3))
    def write_into(self, data: st.DataObject, written: bytes) -> None:
        place = data.draw(st.sampled_from(sorted(self.given)))
        victims = [other for other in self.given if other.samefile(place)]
        place.chmod(0o644)
        place.write_bytes(written)
        place.chmod(0o444)
        for victim in victims:
            del self.given[victim]

    @rule()
    def trim(self) -> None:
        self.cache.trim()
        assert self.kept() <= LIMIT

    @invariant()
    def what_was_given_holds_what_was_asked_for(self) -> None:
        assert {place: place.read_bytes() for place in self.given} == self.given

    @invariant()
    def the_limit_is_never_passed_by_more_than_a_twentieth(self) -> None:
        assert self.kept() <= LIMIT * 1.05

    def kept(self) -> int:
        return sum(file.stat().st_size for file in self.folder.glob("downloads/files/*/*"))


TestSteps = Steps.TestCase
TestSteps.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)


def _steps(folder: Path, seed: int) -> int:
    """What one process does: it asks for files, and brings those that are gone; how often it got them."""
    choice = random.Random(seed)
    cache = DownloadCache(folder / "downloads", LIMIT)
    hits = 0
    for number in range(150):
        content = bytes([choice.randrange(65, 75)]) * choice.randrange(100, 104)
        place = folder / str(seed) / str(number)
        hits += give(cache, content, place)
        while not place.exists() and not give(cache, content, place):
            bring(cache, content, place)
        assert place.read_bytes() == content
    return hits


def test_processes_share_a_small_cache_without_a_wrong_byte(tmp_path: Path) -> None:
    with ProcessPoolExecutor(4, mp_context=get_context("fork")) as pool:
        hits = list(pool.map(_steps, [tmp_path] * 4, range(4)))

    assert sum(hits) > 0
