"""Running the queries of datasets on the databases of Airflow connections, by a worker."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import shutil
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from airflow_mlpipe.errors import InfrastructureError, UserError
from airflow_mlpipe.model.query import QueryDataset
from airflow_mlpipe.pipeline.query_rows import QueryRows
from airflow_mlpipe.store.sources import Source

log = logging.getLogger(__name__)

ROWS_AT_ONCE = 20_000
_PREFIX = "mlpipe-query-"
_FORGOTTEN_AFTER_SECONDS = 24 * 3600


class QueryRun:
    """The rows of *dataset*, which a step reads as its input *who*.

    Rows that were read for their digest wait in a folder of *folder* until they are put in place, so that a
    query runs once, or until this process ends. What killed processes left there goes after a day.
    """

    def __init__(self, dataset: QueryDataset, who: str, folder: Path) -> None:
        self._dataset = dataset
        self._who = who
        self._folder = folder
        self._digest: str | None = None
        self._waiting: Path | None = None

    def source(self) -> Source:
        """What identifies the rows: themselves in their order, or the query, as the dataset says.

        Raises UserError when the connection is unknown or no database's, or the query fails.
        """
        if self._dataset.identity == "definition":
            asked = [self._dataset.query, self._dataset.parameters, self._dataset.connection]
            return Source("directory", _digest(json.dumps(["query", asked], sort_keys=True)), ())
        _remove_forgotten(self._folder)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._waiting = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=self._folder))
        weakref.finalize(self, shutil.rmtree, self._waiting, ignore_errors=True)
        self._digest = self._run(self._waiting)
        size = sum(file.stat().st_size for file in self._waiting.iterdir())
        return Source("directory", self._digest, (), size)

    def put(self, target: Path) -> None:
        """Put the rows into the new folder *target*, as Parquet files.

        Raises as :meth:`source`, and InfrastructureError when they had to be asked for again and are others.
        """
        target.mkdir(parents=True)
        waiting, self._waiting = self._waiting, None
        if waiting is not None and waiting.is_dir():
            for file in sorted(waiting.iterdir()):
                shutil.move(file, target / file.name)
            return
        digest = self._run(target)
        if self._digest not in (None, digest):
            raise InfrastructureError(f"{self._who}: the rows of the query changed since they were hashed")

    def _run(self, target: Path) -> str:
        """Run the query into *target*; the digest of its rows."""
        started = time.monotonic()
        rows = QueryRows(target, self._who)
        with (
            _connected(self._dataset, self._who) as connection,
            _ended_after(self._dataset.query_timeout, connection) as ended,
        ):
            try:
                for columns, batch in _batches(connection, self._dataset, self._who):
                    rows.add(columns, batch)
            except UserError:
                raise
            except Exception as error:
                # Each driver has exceptions of its own.
                why = (
                    f"was ended after {self._dataset.query_timeout:g} s, its query_timeout"
                    if ended.is_set()
                    else f"failed: {type(error).__name__}: {str(error).strip()}"
                )
                raise UserError(
                    f"{self._who}: the query on connection {self._dataset.connection!r} {why}"
                ) from error
        seconds = time.monotonic() - started
        log.info(
            "%s: the query on %s gave %d rows in %.1f s",
            self._who,
            self._dataset.connection,
            rows.count,
            seconds,
        )
        return rows.digest()


@contextlib.contextmanager
def _connected(dataset: QueryDataset, who: str) -> Iterator[Any]:
    """A DB-API connection of the hook of *dataset*'s Airflow connection, for the duration of the block."""
    from airflow.sdk import BaseHook

    try:
        hook = BaseHook.get_hook(dataset.connection)
        connection = hook.get_conn()
        _ = connection.cursor
    except Exception as error:
        raise UserError(
            f"{who}: the Airflow connection {dataset.connection!r} gives no database: "
            f"{type(error).__name__}: {str(error).strip()}; check its id, its type and that type's provider"
        ) from error
    with contextlib.closing(connection):
        yield connection


@contextlib.contextmanager
def _ended_after(seconds: float | None, connection: Any) -> Iterator[threading.Event]:
    """Let what runs on *connection* end after *seconds*; the event tells whether it had to."""
    ended = threading.Event()
    if seconds is None:
        yield ended
        return

    def end() -> None:
        ended.set()
        # What a driver calls it: PostgreSQL's, SQLite's, and what every one has.
        ways = (getattr(connection, name, None) for name in ("cancel", "interrupt", "close"))
        next(way for way in ways if way is not None)()

    timer = threading.Timer(seconds, end)
    timer.start()
    try:
        yield ended
    finally:
        timer.cancel()


def _batches(
    connection: Any, dataset: QueryDataset, who: str
) -> Iterator[tuple[list[str], list[Sequence[Any]]]]:
    """The names of the columns and the rows, some at a time; once without rows when there are none."""
    with contextlib.closing(_streaming_cursor(connection)) as cursor:
        cursor.arraysize = ROWS_AT_ONCE
        if dataset.parameters:
            cursor.execute(dataset.query, dataset.parameters)
        else:
            # With none given, drivers leave a % in the query alone.
            cursor.execute(dataset.query)
        first = True
        while (rows := cursor.fetchmany(ROWS_AT_ONCE)) or first:
            if cursor.description is None:
                raise UserError(f"{who}: the query returns no rows; that of a dataset is a SELECT")
            yield [str(column[0]) for column in cursor.description], rows
            first = False


def _streaming_cursor(connection: Any) -> Any:
    """A cursor that does not take all rows at once into memory, for drivers whose usual one does."""
    driver = type(connection).__module__.partition(".")[0]
    if driver in _STREAMING:
        return _STREAMING[driver](connection)
    return connection.cursor()


def _named_cursor(connection: Any) -> Any:
    return connection.cursor(name="mlpipe")


def _unbuffered_cursor(connection: Any) -> Any:
    from importlib import import_module

    return connection.cursor(
        import_module(f"{type(connection).__module__.partition('.')[0]}.cursors").SSCursor
    )


_STREAMING: dict[str, Callable[[Any], Any]] = {
    "psycopg2": _named_cursor,
    "psycopg": _named_cursor,
    "MySQLdb": _unbuffered_cursor,
    "pymysql": _unbuffered_cursor,
}


def _remove_forgotten(folder: Path) -> None:
    for left in folder.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > _FORGOTTEN_AFTER_SECONDS:
                shutil.rmtree(left)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
