"""The log of a pod: each line once, wherever the stream broke off."""

from __future__ import annotations

import itertools
from datetime import datetime, timezone

from hypothesis import given
from hypothesis import strategies as st

from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.targets.kubernetes.bookmark import Bookmark
from airflow_mlpipe.targets.kubernetes.log_stream import LogPosition, LogReader

EPOCH = 1_790_000_000


def written(time_ns: int, text: str) -> bytes:
    """A line as the API sends it."""
    second, fraction = divmod(time_ns, 1_000_000_000)
    stamp = datetime.fromtimestamp(EPOCH + second, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{stamp}.{fraction:09d}Z {text}\n".encode()


def sent(log: list[bytes], reader: LogReader) -> bytes:
    """What the API answers to the reader: lines since a whole second."""
    since = dict(reader.query(follow=True)).get("sinceTime", "").rstrip("Z").encode()
    return b"".join(line for line in log if line[:19] >= since)


@given(
    steps=st.lists(st.sampled_from([0, 0, 1, 400_000_000, 1_000_000_000, 2_500_000_000]), max_size=40),
    cuts=st.lists(st.integers(0, 3000), max_size=8),
)
def test_lines_come_once_and_in_order_wherever_the_stream_breaks_off(
    steps: list[int], cuts: list[int]
) -> None:
    times = itertools.accumulate(steps)
    log = [written(time, f"line {number}") for number, time in enumerate(times)]
    position, shown = LogPosition(), []
    for cut in cuts:
        reader = LogReader(position)
        shown += list(reader.feed(sent(log, reader)[:cut]))
        position = reader.position
    reader = LogReader(position)
    shown += [*reader.feed(sent(log, reader)), *reader.close()]
    assert shown == [f"line {number}" for number in range(len(log))]


def test_lines_of_a_file_that_was_begun_anew_are_not_taken_for_those_of_the_old_one() -> None:
    reader = LogReader()
    sent_first = [written(100, "a"), written(100, "b")]
    assert list(reader.feed(sent(sent_first, reader))) == ["a", "b"]
    rotated = [written(200, "c"), written(200, "d")]
    assert list(reader.feed(sent(rotated, reader))) == ["c", "d"]


def test_a_long_line_is_whole_although_old_kubelets_repeat_the_time_within_it() -> None:
    part = "x" * 16 * 1024
    stamp = written(5, "").rstrip(b"\n")
    reader = LogReader()
    reader.query(follow=True)
    [line] = reader.feed(stamp + part.encode() + stamp + b"the end\n")
    assert len(line) == 10_000
    raw = LogReader(skipped=16 * 1024)
    raw.query(follow=True)
    assert list(raw.feed(stamp + part.encode() + stamp + b"the end\n")) == ["the end"]


def test_the_last_line_may_lack_its_end_and_skipped_bytes_are_those_that_were_printed() -> None:
    reader = LogReader(skipped=5)
    reader.query(follow=False)
    assert list(reader.feed(written(1, "abc") + written(2, "defg").rstrip(b"\n"))) == []
    assert list(reader.close()) == ["efg"]


def test_words_of_the_api_server_are_no_lines_of_the_step() -> None:
    reader = LogReader()
    reader.query(follow=False)
    assert list(reader.feed(b"unable to retrieve container logs for containerd://1\n")) == []


def test_a_bookmark_is_for_the_try_that_put_it_and_a_damaged_one_counts_as_none() -> None:
    store = Datastore.open("memory://bookmarks")
    bookmark = Bookmark(store, "attempt-1", "try-1")
    assert bookmark.read() == LogPosition()
    bookmark.move(LogPosition(5, 2, 5_000_000_007))
    assert Bookmark(store, "attempt-1", "try-1").read() == LogPosition(5, 2, 5_000_000_007)
    assert Bookmark(store, "attempt-1", "try-2").read() == LogPosition()
    bookmark.move(LogPosition(4, 1, 4_000_000_000))
    assert bookmark.read() == LogPosition(5, 2, 5_000_000_007), "a triggerer that stood still moved it back"
    Bookmark(store, "attempt-1", "try-2").move(LogPosition(3, 1, 3_000_000_000))
    assert bookmark.read() == LogPosition(5, 2, 5_000_000_007)
    store.write(
        "mlpipe/v1/attempts/attempt-1/followed/try-1.json", b'{"follower": "try-1", "schema_version": 1'
    )
    assert bookmark.read() == LogPosition()
