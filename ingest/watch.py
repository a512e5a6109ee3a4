"""Following a job: every event of it in order, each once, from any gateway.

Knows that a waiter listens first, then reads, and reads again. Refuses to know who waits, and how
they are told.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from uuid import UUID

from ingest.jobs import JobEvent, events_after
from relay.doorbell import Doorbell
from relay.errors import Unavailable
from relay.sql.database import Database
from schemas.states import TERMINAL


async def follow(
    database: Database, doorbell: Doorbell, closing: asyncio.Event, job: UUID, after: int
) -> AsyncGenerator[JobEvent | None, None]:
    """The job's events beyond seq `after`, up to the one that ends it; None every few idle seconds.

    Ends early, a few seconds after `closing`. A database that does not answer is waited for.
    """
    async with doorbell.listen(job) as bell:
        while not closing.is_set():
            found = await _read(database, job, after)
            for event in found:
                after = event.seq
                yield event
                if event.state in TERMINAL:
                    return
            if not await bell.wait():
                yield None


async def _read(database: Database, job: UUID, after: int) -> Sequence[JobEvent]:
    try:
        async with database.reading() as tx:
            return await events_after(tx, job, after)
    except Unavailable:
        return ()
