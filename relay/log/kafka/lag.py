"""How far groups are behind: the records from what each has committed on.

Knows committed offsets and where partitions end, and keeps the consumers that it asks with: a
gateway asks every second, and each new one is connections, and with SCRAM a proof, of its own.
Refuses to know who asks, and when it is too much.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer

from relay.log.kafka.link import Link
from relay.log.kafka.reader import Spans, Walk, spans_of
from relay.note import beyond

_NEAR = 64
"""A span up to so long is read to count what is in it; commit markers take offsets, too."""


class Lag:
    """Of any group on one cluster, with as many consumers as were ever asked at once."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._free: list[AIOKafkaConsumer] = []
        self._closed = False

    async def of(self, group: str, topics: Sequence[str]) -> int:
        """Records from what `group` has committed on, less those that its notes call answered.

        Exact where it has almost caught up.
        """
        places = await self._link.partitions(topics)
        committed = await self._link.offsets.committed(group, places)
        async with self._consumer() as kafka:
            spans = await spans_of(kafka, places, None, None)
            open_ = {p: (max(first, committed[p].offset), end) for p, (first, end) in spans.items()}
            far = sum(end - at for at, end in open_.values() if end - at > _NEAR)
            near = {p: (at, end) for p, (at, end) in open_.items() if 0 < end - at <= _NEAR}
            # Where retention has passed the offset nobody knows how many of them are gone.
            whole = [mark for p, mark in committed.items() if mark.offset == open_[p][0]]
            done = sum(beyond(mark.metadata) for mark in whole)
            return far + await self._count(kafka, near) - done

    async def close(self) -> None:
        """Stop what was kept; who is still asked is stopped when they have answered."""
        self._closed = True
        while self._free:
            await self._link.stop(self._free.pop())

    async def _count(self, kafka: AIOKafkaConsumer, spans: Spans) -> int:
        count = 0
        async for _ in Walk(self._link, kafka, spans).records():
            count += 1
        return count

    @asynccontextmanager
    async def _consumer(self) -> AsyncIterator[AIOKafkaConsumer]:
        """One that nobody else asks; whose answer failed, or did not come in time, is let go."""
        if self._free:
            kafka = self._free.pop()
        else:
            kafka = self._link.consumer()
            await self._link.start(kafka)
        try:
            yield kafka
        except BaseException:
            self._link.abandon(kafka)
            raise
        if self._closed:
            await self._link.stop(kafka)
        else:
            self._free.append(kafka)
