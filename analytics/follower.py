"""Following the log: what it appends is counted, a batch at a time, from where the positions say.

Knows reading without a group. Refuses to know figures: the shelf keeps what came of a batch and its
positions in one transaction, so after a death everything is still counted once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Mapping
from contextlib import aclosing
from typing import Any

from analytics.definitions import TOPICS
from analytics.shelf import Shelf
from relay.errors import Misconfigured, Unavailable
from relay.log.port import Log, Place, Record
from relay.stopping import until_stopped
from relay.telemetry import Health

log = logging.getLogger(__name__)

BATCH = 1000
"""Most records in one transaction."""
PART = "analytics"
"""Our name in what an operator sees of the process's health."""
_LOOK, _AGAIN = 5.0, 1.0


class Follower:
    """Follows the topics until `stop`; a `relay.process.Worker`."""

    def __init__(self, log: Log, shelf: Shelf, health: Health) -> None:
        self._log, self._shelf, self._health = log, shelf, health
        self._stopping = asyncio.Event()
        self._ends: Mapping[Place, int] = {}
        self._at: dict[Place, int] = {}

    def stop(self) -> None:
        """End `run`; the next one goes on where the last transaction came to."""
        self._stopping.set()

    async def run(self) -> None:
        """Follow until `stop`. While the log is down, `health` says so."""
        await until_stopped(self._loop(), self._stopping, grace=0)

    @property
    def lag(self) -> int:
        """Records that the log held a few seconds ago and that are not counted.

        To one in each partition: on Kafka the last offset there is a commit's marker.
        """
        gaps = (end - self._at.get(place, 0) for place, end in self._ends.items())
        return sum(gap for gap in gaps if gap > 1)

    async def _loop(self) -> None:
        while True:
            try:
                await self._follow()
            except Unavailable as down:
                if PART not in self._health.troubles:
                    log.warning("%s: not available, trying again: %s", PART, down)
                self._health.trouble(PART, str(down), self)
                await asyncio.sleep(_AGAIN)

    async def _follow(self) -> None:
        self._at = await asyncio.to_thread(self._shelf.positions)
        await self._look()
        come = asyncio.Queue[Record](BATCH)
        await _together(self._read(come), self._take(come), self._watch())

    async def _look(self) -> None:
        self._ends = await self._log.ends(TOPICS)
        for (topic, number), at in self._at.items():
            if at > self._ends.get((topic, number), 0):
                raise Misconfigured(
                    f"{at} records of {topic}/{number} are counted, and the log holds fewer: it is "
                    "another log. Delete the file of figures to count this one"
                )

    async def _read(self, come: asyncio.Queue[Record]) -> None:
        records = self._log.read(TOPICS, follow=True, start=self._at)
        async with aclosing(records):  # type: ignore[type-var]
            async for record in records:
                await come.put(record)

    async def _take(self, come: asyncio.Queue[Record]) -> None:
        while True:
            batch = [await come.get()]
            while len(batch) < BATCH and not come.empty():
                batch.append(come.get_nowait())
            await asyncio.to_thread(self._shelf.take, batch)
            self._at |= {(r.topic, r.partition): r.offset + 1 for r in batch}
            self._health.well(PART, self)

    async def _watch(self) -> None:
        while True:
            if not self.lag:
                self._health.well(PART, self)
            await asyncio.sleep(_LOOK)
            self._ends = await self._log.ends(TOPICS)


async def _together(*loops: Coroutine[Any, Any, None]) -> None:
    """Run endless loops until one breaks; raises what broke it, the others are ended."""
    tasks = [asyncio.create_task(loop) for loop in loops]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
