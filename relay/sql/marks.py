"""Marks in SQL: a row for each group and partition, raised behind the commits.

Knows how commits of a process come into one transaction now and then. Refuses to know what the log
says.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping

from sqlalchemy import bindparam, delete, select, update

from relay.errors import Unavailable
from relay.log.port import Place
from relay.sql.database import Database, Transaction
from relay.sql.schema import positions

EVERY = 0.25
"""Seconds between two transactions: so much of what was committed may be missing after a death."""

_Noted = dict[tuple[str, str, int], int]


class SqlMarks:
    """The marks of one process: `relay.log.marks.Marks`."""

    def __init__(self, database: Database, every: float = EVERY) -> None:
        self._database, self._every = database, every
        self._noted: _Noted = {}
        self._writing: asyncio.Task[None] | None = None

    def note(self, group: str, place: Place, offset: int) -> None:
        self._noted[group, *place] = offset
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())

    async def least(self, group: str) -> Mapping[Place, int]:
        async with self._database.reading() as tx:
            rows = await tx.execute(select(positions).where(positions.c.group == group))
            return {(row.topic, row.partition): row.next for row in rows}

    async def all(self) -> Mapping[str, Mapping[Place, int]]:
        """The marks of every group."""
        async with self._database.reading() as tx:
            found: dict[str, dict[Place, int]] = {}
            for row in await tx.execute(select(positions)):
                found.setdefault(row.group, {})[row.topic, row.partition] = row.next
            return found

    async def forget(self, group: str) -> None:
        await self._database.run(
            lambda tx: tx.execute(delete(positions).where(positions.c.group == group))
        )

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
        if not self._noted:
            return
        noted = dict(self._noted)
        await self._database.run(lambda tx: _raise(tx, noted))
        self._noted = {key: at for key, at in self._noted.items() if noted.get(key) != at}


async def _raise(tx: Transaction, noted: _Noted) -> None:
    """Let no row be less than `noted` says; in one order, so that no two processes can deadlock."""
    rows = [
        {"group": group, "topic": topic, "partition": number, "next": at}
        for (group, topic, number), at in sorted(noted.items())
    ]
    await tx.insert_absent_many(positions, rows)
    raised = update(positions).where(
        positions.c.group == bindparam("of_group"),
        positions.c.topic == bindparam("of_topic"),
        positions.c.partition == bindparam("of_partition"),
        positions.c.next < bindparam("to"),
    )
    given = [{"to": row["next"], **{f"of_{k}": row[k] for k in _KEY}} for row in rows]
    await tx.execute(raised.values(next=bindparam("to")), given)


_KEY = ("group", "topic", "partition")
