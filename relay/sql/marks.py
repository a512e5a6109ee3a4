"""Marks in SQL: a row for each group and partition, raised behind the commits.

Knows how commits of a process come into one transaction now and then. Refuses to know what the log
says.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Mapping

from sqlalchemy import ColumnElement, Row, and_, delete, or_, select, tuple_

from relay.errors import Unavailable
from relay.log.marks import NOWHERE, further
from relay.log.port import Committed, Place
from relay.note import beyond
from relay.sql.database import Columns, Database, Transaction
from relay.sql.schema import positions

EVERY = 0.25
"""Seconds between two transactions: so much of what was committed may be missing after a death."""

_Noted = dict[tuple[str, str, int], Committed]


class SqlMarks:
    """The marks of one process: `relay.log.marks.Marks`."""

    def __init__(self, database: Database, every: float = EVERY) -> None:
        self._database, self._every = database, every
        self._noted: _Noted = {}
        self._writing: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()  # nothing is written in the middle of forgetting it

    def note(self, group: str, place: Place, mark: Committed) -> None:
        # A writer that was fenced may hear of its last commit later than the next one of its own.
        if not further(mark, self._noted.get((group, *place), NOWHERE)):
            return
        self._noted[group, *place] = mark
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())

    async def least(self, group: str) -> Mapping[Place, Committed]:
        noted = dict(self._noted)  # what is written from here on may not be found below
        async with self._database.reading() as tx:
            rows = await tx.execute(select(positions).where(positions.c.group == group))
            found = {_place(row): _mark(row) for row in rows}
        for (of, topic, number), mark in noted.items():
            if of == group and further(mark, found.get((topic, number), NOWHERE)):
                found[topic, number] = mark
        return found

    async def all(self) -> Mapping[str, Mapping[Place, Committed]]:
        """The marks of every group."""
        async with self._database.reading() as tx:
            found: dict[str, dict[Place, Committed]] = {}
            for row in await tx.execute(select(positions)):
                found.setdefault(row.group, {})[_place(row)] = _mark(row)
            return found

    async def forget(self, group: str, places: Collection[Place] | None = None) -> None:
        theirs = positions.c.group == group
        if places is not None:
            theirs &= tuple_(positions.c.topic, positions.c.partition).in_(list(places))
        async with self._turn:
            await self._database.run(lambda tx: tx.execute(delete(positions).where(theirs)))
            self._noted = {
                (of, topic, number): mark
                for (of, topic, number), mark in self._noted.items()
                if of != group or (places is not None and (topic, number) not in places)
            }

    async def close(self) -> None:
        """Write what was noted; what cannot be written now is only missing from a lower bound."""
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.wait([self._writing])
        with contextlib.suppress(Unavailable):
            await self._flush()

    async def _write(self) -> None:
        try:
            while self._noted:
                with contextlib.suppress(Unavailable):  # tried again, with what has come since
                    await self._flush()
                await asyncio.sleep(self._every)
        finally:
            self._writing = None

    async def _flush(self) -> None:
        async with self._turn:
            if not self._noted:
                return
            noted = dict(self._noted)
            await self._database.run(lambda tx: _raise(tx, noted))
            self._noted = {key: at for key, at in self._noted.items() if noted.get(key) != at}


def _place(row: Row[tuple[object, ...]]) -> Place:
    return row.topic, row.partition


def _mark(row: Row[tuple[object, ...]]) -> Committed:
    """A note of another offset is one that an older release, which keeps none, has left behind."""
    return Committed(row.next, row.note if row.beside == row.next else "")


async def _raise(tx: Transaction, noted: _Noted) -> None:
    """Let no row say less than `noted`; in one order, so that no two processes can deadlock."""
    rows = [
        {
            "group": group,
            "topic": topic,
            "partition": number,
            "next": mark.offset,
            "beside": mark.offset,
            "done": beyond(mark.metadata),
            "note": mark.metadata,
        }
        for (group, topic, number), mark in sorted(noted.items(), key=lambda each: each[0])
    ]
    await tx.put_many(positions, rows, where=_says_more)


def _says_more(new: Columns) -> ColumnElement[bool]:
    here, done = positions.c.next, positions.c.done
    return or_(here < new.next, and_(here == new.next, done < new.done))
