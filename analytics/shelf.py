"""Where the rows of figures lie: one SQLite file, with the positions they were counted up to.

Knows that rows and positions are written together or not at all. Refuses to know what is counted.
The file can be deleted: it is counted anew, as far back as the topics are kept.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Lock

from analytics.definitions import VERSION, fact
from analytics.rows import Row, Size, Where, grown, read, windows, written
from relay.errors import Misconfigured, Unavailable
from relay.log.port import Place, Record

FILE = "analytics.db"
_BUSY_SECONDS = 10.0
_TABLES = """
create table rows (
    topic text, partition integer, size text, slot integer,
    start integer not null, last integer not null, body text not null,
    primary key (topic, partition, size, slot)
) without rowid;
create index rows_by_start on rows (size, start);
create table positions (
    topic text, partition integer, next integer not null, primary key (topic, partition)
) without rowid;
"""
_KEY = "topic = ? and partition = ? and size = ? and slot = ?"


class Shelf:
    """An open file of figures; may be used from any thread."""

    def __init__(self, line: sqlite3.Connection) -> None:
        self._line, self._lock = line, Lock()

    def positions(self) -> dict[Place, int]:
        """Per partition the offset of the next record to be counted."""
        with self._step("begin") as line:
            rows = line.execute("select topic, partition, next from positions").fetchall()
        return {(topic, number): next_ for topic, number, next_ in rows}

    def take(self, records: Iterable[Record]) -> None:
        """Count `records`, in order per partition, and move on: all of it or nothing."""
        changed: dict[Where, Row] = {}
        next_: dict[Place, int] = {}
        with self._step() as line:
            for record in records:
                _count(line, changed, record)
                next_[record.topic, record.partition] = record.offset + 1
            _put(line, changed)
            _move(line, next_)

    def rows(self, size: Size, since: int = 0) -> list[Row]:
        """Rows of that size, of all partitions, whose windows begin at `since` or later."""
        with self._step("begin") as line:
            query = "select body from rows where size = ? and start >= ?"
            found = line.execute(query, [size, since]).fetchall()
        return [read(body) for (body,) in found]

    def all(self) -> dict[Where, Row]:
        """Everything, for a comparison."""
        with self._step("begin") as line:
            query = "select topic, partition, size, slot, body from rows"
            found = line.execute(query).fetchall()
        return {Where(t, n, Size(size), slot): read(body) for t, n, size, slot, body in found}

    @contextmanager
    def _step(self, begin: str = "begin immediate") -> Iterator[sqlite3.Connection]:
        """One transaction; `Unavailable` where the file cannot be read or written now."""
        try:
            with self._lock, self._line as line:
                line.execute(begin)
                yield line
        except sqlite3.OperationalError as failed:
            raise Unavailable(f"the figures cannot be kept: {failed}") from failed


def _count(line: sqlite3.Connection, changed: dict[Where, Row], record: Record) -> None:
    said = fact(record)
    for where, start in windows((record.topic, record.partition), said.at):
        before = changed.get(where) or _row(line, where)
        if after := grown(before, said, record.offset, start):
            changed[where] = after


def _row(line: sqlite3.Connection, where: Where) -> Row | None:
    query = f"select body from rows where {_KEY}"
    found = line.execute(query, _key(where)).fetchone()
    return read(found[0]) if found else None


def _put(line: sqlite3.Connection, rows: Mapping[Where, Row]) -> None:
    line.executemany(
        "insert or replace into rows values (?, ?, ?, ?, ?, ?, ?)",
        [(*_key(where), row.start, row.last, written(row)) for where, row in rows.items()],
    )


def _move(line: sqlite3.Connection, next_: Mapping[Place, int]) -> None:
    line.executemany(
        "insert into positions values (?, ?, ?) "
        "on conflict do update set next = max(next, excluded.next)",
        [(*place, at) for place, at in next_.items()],
    )


def _key(where: Where) -> tuple[str, int, str, int]:
    return where.topic, where.partition, where.size, where.slot


@contextmanager
def open_shelf(path: Path) -> Iterator[Shelf]:
    """The figures in `path`, empty where there are none or where others were counted there.

    `Misconfigured` where the file is none of ours.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        line = sqlite3.connect(
            path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        with closing(line):
            line.execute("pragma journal_mode = wal")
            line.execute("pragma synchronous = normal")  # what a power cut takes is counted again
            _prepare(line)
            yield Shelf(line)
    except sqlite3.DatabaseError as wrong:
        raise Misconfigured(f"{path} cannot hold figures: {wrong}") from wrong


def _prepare(line: sqlite3.Connection) -> None:
    line.execute("begin immediate")
    (found,) = line.execute("pragma user_version").fetchone()
    if found != VERSION:
        line.execute("drop table if exists rows")
        line.execute("drop table if exists positions")
        for statement in _TABLES.split(";"):
            line.execute(statement)
        line.execute(f"pragma user_version = {VERSION}")
    line.execute("commit")
