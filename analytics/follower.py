"""Following the log: what it appends is counted, a batch at a time, from where the positions say.

Knows reading without a group, of the partitions that are ours to count. Refuses to know figures:
the shelf keeps what came of a batch and its positions in one transaction, so after a death
everything is still counted once, and refuses what is another's to count.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Coroutine, Mapping
from contextlib import aclosing
from typing import Any

from analytics.definitions import TOPICS
from analytics.rows import after
from analytics.shelf.port import Held, Shelf
from relay.errors import Fenced, Misconfigured, Unavailable
from relay.log.port import Log, Place, Record
from relay.stopping import until_stopped
from relay.telemetry import Health

log = logging.getLogger(__name__)

BATCH = 1000
"""Most records in one transaction."""
PART = "analytics"
"""Our name in what an operator sees of the process's health."""
_LOOK, _AGAIN = 5.0, 1.0
RENEW = 3.0
"""Seconds between two words to the shelf that we count."""


class Follower:
    """Follows the topics until `stop`; a `relay.process.Worker`."""

    def __init__(self, log: Log, shelf: Shelf, health: Health) -> None:
        self._log, self._shelf, self._health = log, shelf, health
        self._stopping = asyncio.Event()
        self._ends: Mapping[Place, int] = {}
        self._at: dict[Place, int] = {}
        self._held: Held = {}

    def stop(self) -> None:
        """End `run`; the next one goes on where the last transaction came to."""
        self._stopping.set()

    async def run(self) -> None:
        """Follow until `stop`. While the log is down, `health` says so."""
        try:
            await until_stopped(self._loop(), self._stopping, grace=0)
        finally:
            with contextlib.suppress(Unavailable):  # leases run out by themselves
                await self._shelf.leave()

    @property
    def lag(self) -> int:
        """Records that the log held a few seconds ago and that are not counted, by whomever.

        To one in each partition: on Kafka the last offset there is a commit's marker.
        """
        gaps = (end - self._at.get(place, 0) for place, end in self._ends.items())
        return sum(gap for gap in gaps if gap > 1)

    async def _loop(self) -> None:
        while True:
            try:
                await self._follow()
            except Fenced as why:
                log.info("%s: counted by another process now: %s", PART, why)
                self._held = {}
            except Unavailable as down:
                if PART not in self._health.troubles:
                    log.warning("%s: not available, trying again: %s", PART, down)
                self._health.trouble(PART, str(down), self)
                await asyncio.sleep(_AGAIN)

    async def _follow(self) -> None:
        """Count what is ours, until something else is."""
        self._ends = await self._log.ends(TOPICS)
        self._held = await self._share()
        self._at = await self._shelf.positions()  # once we hold them, nobody else moves them
        await self._look()
        come = asyncio.Queue[Record](BATCH)
        held = self._held
        await _together(self._read(come), self._take(come, held), self._watch(), self._renew())

    async def _look(self) -> None:
        self._ends = await self._log.ends(TOPICS)  # after the positions: others count meanwhile
        for (topic, number), at in self._at.items():
            if at > self._ends.get((topic, number), 0):
                raise Misconfigured(
                    f"{at} records of {topic}/{number} are counted, and the log holds fewer: it is "
                    "another log. docs/analytics.md says how to count it anew"
                )

    async def _read(self, come: asyncio.Queue[Record]) -> None:
        if not self._held:
            await asyncio.Event().wait()
        records = self._log.read(TOPICS, follow=True, start=self._at, numbers=frozenset(self._held))
        async with aclosing(records):  # type: ignore[type-var]
            async for record in records:
                await come.put(record)

    async def _take(self, come: asyncio.Queue[Record], held: Held) -> None:
        while True:
            batch = [await come.get()]
            while len(batch) < BATCH and not come.empty():
                batch.append(come.get_nowait())
            await self._shelf.take(batch, held)
            self._at |= after(batch)
            self._health.well(PART, self)

    async def _watch(self) -> None:
        while True:
            if not self.lag:
                self._health.well(PART, self)
            await asyncio.sleep(_LOOK)
            self._ends = await self._log.ends(TOPICS)
            theirs = await self._shelf.positions()
            self._at |= {place: max(at, self._at.get(place, 0)) for place, at in theirs.items()}

    async def _renew(self) -> None:
        """Keep what we hold; returns once that is something else."""
        held = self._held
        while self._held == held:
            await asyncio.sleep(RENEW)
            self._held = await self._share()

    async def _share(self) -> Held:
        partitions = 1 + max((number for _, number in self._ends), default=-1)
        return await self._shelf.share(partitions, self._held)


async def _together(*loops: Coroutine[Any, Any, None]) -> None:
    """Run loops until one ends or breaks; raises what broke it, the others are ended."""
    tasks = [asyncio.create_task(loop) for loop in loops]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
