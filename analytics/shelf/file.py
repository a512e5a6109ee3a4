"""Figures in one SQLite file, counted by one process; a second one at the same file adds nothing.

Knows SQL. Refuses to know what is counted.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

from analytics.definitions import VERSION, Figure
from analytics.rows import Row, Size, Where, after, read, steps, summed, taken, written
from analytics.shelf.port import Held
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
_SUM = """
select figure.key, sum(figure.value) from rows, json_each(body, '$.figures') as figure
where size = ? and start >= ? group by figure.key
"""
_KEY = "topic = ? and partition = ? and size = ? and slot = ?"


class FileShelf:
    """An open file of figures."""

    def __init__(self, line: sqlite3.Connection) -> None:
        self._line, self._lock = line, Lock()

    async def share(self, partitions: int, held: Held) -> Held:
        """All of them are ours."""
        return dict.fromkeys(range(partitions), 0)

    async def leave(self) -> None:
        """There is nobody to leave them to."""

    async def positions(self) -> dict[Place, int]:
        """Per partition the offset of the next record to be counted."""
        found = await asyncio.to_thread(self._ask, "select topic, partition, next from positions")
        return {(topic, number): next_ for topic, number, next_ in found}

    async def take(self, records: Sequence[Record], held: Held) -> None:
        """Count `records`, in order per partition, and move on: all of it or nothing."""
        await asyncio.to_thread(self._take, records)

    async def rows(self, size: Size, since: int = 0) -> list[Row]:
        """Rows of that size, of all partitions, whose windows begin at `since` or later."""
        query = "select body from rows where size = ? and start >= ?"
        return await asyncio.to_thread(
            lambda: [read(body) for (body,) in self._ask(query, size, since)]
        )

    async def total(self, size: Size, since: int = 0) -> Counter[Figure]:
        """The sum of those rows."""
        return summed(await asyncio.to_thread(self._ask, _SUM, size, since))

    async def all(self) -> dict[Where, Row]:
        """Everything, for a comparison."""
        query = "select topic, partition, size, slot, body from rows"
        found = await asyncio.to_thread(self._ask, query)
        return {Where(t, n, Size(size), slot): read(body) for t, n, size, slot, body in found}

    def _ask(self, query: str, *values: Any) -> list[Any]:
        with self._step("begin") as line:
            return line.execute(query, values).fetchall()

    def _take(self, records: Sequence[Record]) -> None:
        counted = list(steps(records))
        with self._step() as line:
            before = {where: _row(line, where) for where in {step.where for step in counted}}
            found = {where: row for where, row in before.items() if row is not None}
            _put(line, taken(found, counted))
            _move(line, after(records))

    @contextmanager
    def _step(self, begin: str = "begin immediate") -> Iterator[sqlite3.Connection]:
        """One transaction; `Unavailable` where the file cannot be read or written now."""
        try:
            with self._lock, self._line as line:
                line.execute(begin)
                yield line
        except sqlite3.OperationalError as failed:
            raise Unavailable(f"the figures cannot be kept: {failed}") from failed


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
def open_file(path: Path) -> Iterator[FileShelf]:
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
            yield FileShelf(line)
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
