"""How much waits to be done, so that no more is taken than can be worked off.

Knows what lies in the outbox and how far each group of the chain is behind, measured when somebody
asks and at most once a second; who finds room in a measurement of late does not wait for the next.
A log that is slow to tell, as one is behind which much waits, is heard when it has told. Refuses to
know doors. What cannot be measured lets everybody in: a job is safe in the outbox while the log is
away, and the outbox is counted all the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress

from prometheus_client import Gauge
from sqlalchemy import func, select

from ingest.problems import Problem
from relay.errors import Misconfigured, Unavailable
from relay.log.port import Log
from relay.sql.database import Database
from relay.sql.schema import outbox
from schemas.topics import READS

BACKLOG = Gauge("voxrelay_backlog", "Records that wait in the outbox and the log, when last asked")

FRESH = 1.0
"""Seconds for which a measurement is good ..."""
_OF_LATE = 30
"""... and so many times as long it lets in, while the next is made: Kafka takes a while to tell."""
PATIENCE = 0.5
"""Seconds that a measurement waits for the log to tell; a request waits twice as long."""
_TELLING = 30.0
"""Seconds after which the log is asked anew."""
RETRY_AFTER = 10.0


class Pressure:
    """The backlog of one site, as this gateway sees it."""

    def __init__(
        self,
        database: Database,
        log: Log,
        most: int,
        reads: Mapping[str, Sequence[str]] = READS,
    ) -> None:
        """`reads` are the groups that work here, and what they read."""
        self._database, self._log, self._most, self._reads = database, log, most, reads
        self._behind = 0
        self._waiting = 0
        self._measured = float("-inf")
        self._measuring: asyncio.Task[None] | None = None
        self._telling: asyncio.Task[None] | None = None

    async def check(self) -> None:
        """`Problem` (`overloaded`) where more waits than may."""
        if self._most and await self._full():
            raise Problem("overloaded", retry_after=RETRY_AFTER)

    async def close(self) -> None:
        """End what is being measured."""
        tasks = [task for task in (self._measuring, self._telling) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _full(self) -> bool:
        age = asyncio.get_running_loop().time() - self._measured
        if age >= FRESH:
            if self._measuring is None or self._measuring.done():
                self._measuring = asyncio.create_task(self._measure())
            if self._waiting >= self._most or age >= _OF_LATE * FRESH:
                done, _ = await asyncio.wait({self._measuring}, timeout=2 * PATIENCE)
                if not done:
                    return False
                for measured in done:  # who was quicker to wake may have begun the next
                    measured.result()
        return self._waiting >= self._most

    async def _measure(self) -> None:
        if self._telling is None or self._telling.done():
            self._telling = asyncio.create_task(self._tell())
        done, _ = await asyncio.wait({self._telling}, timeout=PATIENCE)
        for told in done:
            told.result()
        with suppress(Unavailable):  # whoever asks reads there next, and hears of it
            async with self._database.reading() as tx:
                query = select(func.count()).select_from(outbox)
                self._waiting = self._behind + (await tx.execute(query)).scalar_one()
            self._measured = asyncio.get_running_loop().time()
            BACKLOG.set(self._waiting)

    async def _tell(self) -> None:
        """How far the groups are behind, however long that takes within bounds."""
        with suppress(TimeoutError, Unavailable, Misconfigured):  # else as far as was known
            async with asyncio.timeout(_TELLING):
                lags = (self._log.lag(group, topics) for group, topics in self._reads.items())
                self._behind = sum(await asyncio.gather(*lags))
