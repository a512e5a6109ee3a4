"""Reading the embedded log: rows to records, on connections of its own, in threads.

Knows queries. Refuses to know groups, waiting and writing. No statement stays open between two
calls, so a slow reader never keeps the write-ahead log from being folded in.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import zlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from relay.errors import Misconfigured, Unavailable
from relay.log.port import Place, Record
from relay.log.sqlite.batches import microseconds, records
from relay.log.sqlite.schema import connect
from relay.note import beyond

T = TypeVar("T")

_THREADS = 4
_MOST_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class Fetch:
    """A wish for the records of a partition from `offset` on."""

    partition: int
    topic: str
    number: int
    offset: int


class Reader:
    """Queries, each in a thread on that thread's own connection."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pool = ThreadPoolExecutor(_THREADS, "log-reader")
        self._own = threading.local()
        self._lines: list[sqlite3.Connection] = []
        self._closed = False

    async def fetch(self, wanted: Sequence[Fetch], most: int) -> list[Sequence[Record]]:
        """Per wish the next records, in order: about `most` of them at most, and few megabytes."""
        return await self._in_thread(lambda line: [_fetch(line, wish, most) for wish in wanted])

    async def partitions(self, topics: Sequence[str]) -> dict[str, list[int]]:
        """Ids of each topic's partitions, in order; `Misconfigured` where a topic is missing."""
        return await self._in_thread(
            lambda line: {t: [id_ for id_, _ in _partitions(line, t)] for t in topics}
        )

    async def span(
        self,
        topics: Sequence[str],
        since: datetime | None,
        until: datetime | None,
        key: str | None,
        done: Mapping[int, int],
    ) -> list[tuple[Fetch, int]]:
        """Per partition where to read on, and the offset after the last record to be read.

        `done` maps the partitions already read to the offset after what was read of them; the
        others begin at `since`. A `key` leaves the one partition of each topic that it falls into.
        """

        def query(line: sqlite3.Connection) -> list[tuple[Fetch, int]]:
            found = [_span(line, topic, since, until, done) for topic in topics]
            if key is not None:
                found = [[places[number_of(key, len(places))]] for places in found]
            return [place for places in found for place in places]

        return await self._in_thread(query)

    async def starts(self, topics: Sequence[str]) -> Mapping[Place, int]:
        """Per partition the offset of its first record, else of the next one."""
        return await self._in_thread(
            lambda line: {
                (topic, number): _first(line, id_, end)
                for topic in topics
                for number, (id_, end) in enumerate(_partitions(line, topic))
            }
        )

    async def lag(self, group: str, topics: Sequence[str]) -> int:
        """Records that `group`, by its offsets and notes, has not answered; of all `topics`."""
        return await self._in_thread(lambda line: sum(_lag(line, group, t) for t in topics))

    async def close(self) -> None:
        """End the threads and their connections."""
        self._closed = True
        await asyncio.to_thread(self._pool.shutdown)
        for line in self._lines:
            line.close()
        self._lines.clear()

    async def _in_thread(self, query: Callable[[sqlite3.Connection], T]) -> T:
        if self._closed:
            raise Unavailable("the log is closed")
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._run, query)

    def _run(self, query: Callable[[sqlite3.Connection], T]) -> T:
        try:
            line: sqlite3.Connection | None = getattr(self._own, "line", None)
            if line is None:
                line = self._own.line = connect(self._path)
                self._lines.append(line)
            return query(line)
        except sqlite3.OperationalError as failed:
            raise Unavailable(f"the log cannot be read: {failed}") from failed


def _fetch(line: sqlite3.Connection, wish: Fetch, most: int) -> list[Record]:
    found: list[Record] = []
    size = 0
    cursor = line.execute(_ROWS, [wish.partition, wish.offset])
    for row in cursor:
        found += records(wish.topic, wish.number, wish.offset, row)
        size += len(row[-1])
        if len(found) >= most or size >= _MOST_BYTES:
            break
    cursor.close()
    return found


def _partitions(line: sqlite3.Connection, topic: str) -> list[tuple[int, int]]:
    """Id and next offset of each partition, in order."""
    found: list[tuple[int, int]] = line.execute(_PARTITIONS, [topic]).fetchall()
    if not found:
        raise Misconfigured(f"topic {topic} is missing: run `voxrelay topics apply`")
    return found


def _span(
    line: sqlite3.Connection,
    topic: str,
    since: datetime | None,
    until: datetime | None,
    done: Mapping[int, int],
) -> list[tuple[Fetch, int]]:
    places = []
    for number, (id_, end) in enumerate(_partitions(line, topic)):
        last = end if until is None else _first_from(line, id_, until, end)
        first = 0 if since is None else _first_from(line, id_, since, end)
        places.append((Fetch(id_, topic, number, done.get(id_, first)), last))
    return places


def _first(line: sqlite3.Connection, partition: int, end: int) -> int:
    found = line.execute(_FIRST, [partition]).fetchone()
    return int(found[0]) if found else end


def _first_from(line: sqlite3.Connection, partition: int, at: datetime, end: int) -> int:
    """Offset of the first record appended at `at` or later; `end` where there is none."""
    found = line.execute(_SINCE, [partition, microseconds(at)]).fetchone()
    return int(found[0]) if found else end


def number_of(key: str, partitions: int) -> int:
    """The partition, by number, that records of this key are appended to."""
    return zlib.crc32(key.encode("utf-8", "surrogateescape")) % partitions


def _lag(line: sqlite3.Connection, group: str, topic: str) -> int:
    found: list[tuple[int, str]] = line.execute(_LAG, [group, topic]).fetchall()
    if not found:
        raise Misconfigured(
            f"group {group} has no offsets on topic {topic}: run `voxrelay topics apply`"
        )
    return sum(open_ - beyond(note) for open_, note in found)


_ROWS = """
select first, appended, heads, body from batches
where partition = ? and last >= ? order by last
"""
_PARTITIONS = """
select p.id, p.next from partitions p join topics t on t.id = p.topic
where t.name = ? order by p.number
"""
_SINCE = """
select first from batches where partition = ? and appended >= ? order by last limit 1
"""
_FIRST = """
select first from batches where partition = ? order by last limit 1
"""
_LAG = """
select p.next - c."offset", c.metadata from claims c
join partitions p on p.id = c.partition join topics t on t.id = p.topic
where c."group" = ? and t.name = ?
"""
