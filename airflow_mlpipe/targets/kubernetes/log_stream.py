"""The log of a pod, each line once, however often the stream breaks off and whoever reads it next."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timezone

from airflow_mlpipe.targets.kubernetes.api_call import Query
from airflow_mlpipe.targets.log_lines import LogLines

# Longer lines reach the node's log in parts; old kubelets repeat the time before each of them.
_PART_BYTES = 16 * 1024
_STAMP = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d) ")


@dataclass(frozen=True)
class LogPosition:
    """How far a pod's log has been read.

    ``second`` is that of the latest time read, since the epoch; ``lines`` is how many lines of that second
    were read, and ``last`` the latest time in nanoseconds. Who goes on asks for what was written since
    ``second``, which is as exact as the API is, and passes over as many lines: several may bear one time.
    """

    second: int = 0
    lines: int = 0
    last: int = 0

    def after(self, time: int) -> LogPosition:
        """The position after one more line, of *time* in nanoseconds."""
        second = time // 1_000_000_000
        if second > self.second:
            return LogPosition(second, 1, time)
        if second < self.second:  # two streams may be out of order; nobody will be sent this line again
            return self
        return replace(self, lines=self.lines + 1, last=max(self.last, time))


class LogReader:
    """Turns what the API sends of a pod's log into lines, beginning after *position*.

    The first *skipped* bytes of what the container wrote from there on are passed over.
    """

    def __init__(self, position: LogPosition = LogPosition(), skipped: int = 0) -> None:
        self.position = position
        self._skipped = skipped
        self._lines = LogLines()
        self._rest = b""
        self._passed = 0

    def query(self, *, follow: bool) -> Query:
        """What to ask for now; the answer begins anew with the lines of the position's second."""
        self._rest, self._passed = b"", 0
        since = datetime.fromtimestamp(self.position.second, timezone.utc)
        return (
            ("follow", str(follow).lower()),
            ("timestamps", "true"),
            *((("sinceTime", since.strftime("%Y-%m-%dT%H:%M:%SZ")),) if self.position.second else ()),
        )

    def feed(self, data: bytes) -> Iterator[str]:
        """The lines that *data*, the next part of the answer, completes."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        for line in whole:
            yield from self._line(line)

    def close(self) -> Iterator[str]:
        """What is left at the very end of the log. A line cut off by a broken stream is not to be closed."""
        if self._rest:
            yield from self._line(self._rest)
        self._rest = b""
        yield from self._lines.close()

    def _line(self, line: bytes) -> Iterator[str]:
        stamp = _STAMP.match(line)
        if stamp is None:  # the API server's own words, such as that the log cannot be had
            return
        time = _nanoseconds(stamp)
        if self._passed < self.position.lines and time <= self.position.last:
            self._passed += 1
            return
        self.position = self.position.after(time)
        self._passed = self.position.lines
        written = _joined(line[stamp.end() :]) + b"\n"
        passed_over = min(self._skipped, len(written))
        self._skipped -= passed_over
        yield from self._lines.feed(written[passed_over:])


def _nanoseconds(stamp: re.Match[bytes]) -> int:
    whole, fraction, zone = (part.decode("ascii") for part in stamp.groups(b""))
    offset = "+0000" if zone == "Z" else zone.replace(":", "")
    moment = datetime.strptime(whole + offset, "%Y-%m-%dT%H:%M:%S%z")
    return int(moment.timestamp()) * 1_000_000_000 + int(fraction.ljust(9, "0"))


def _joined(line: bytes) -> bytes:
    """*line* without the times that an old kubelet put before its later parts."""
    parts, start = [], 0
    while (end := start + _PART_BYTES) < len(line) and (stamp := _STAMP.match(line, end)):
        parts.append(line[start:end])
        start = stamp.end()
    return b"".join([*parts, line[start:]])
