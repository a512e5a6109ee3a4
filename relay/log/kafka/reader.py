"""Reading without joining a group: from the start or a time, to the end as it is now or for ever.

Knows offsets, holes and where a partition's committed records end. Refuses to know members.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.partitioner import DefaultPartitioner

from relay.log.kafka.failures import translating
from relay.log.kafka.link import Link
from relay.log.kafka.records import milliseconds, to_record
from relay.log.port import Place, Record
from relay.note import beyond

_WAIT_MS, _FOLLOW_MS = 100, 500
_MOST_RECORDS = 512
_NEAR = 64
"""A span up to so long is read to count what is in it; commit markers take offsets, too."""

Spans = Mapping[TopicPartition, tuple[int, int]]
"""Per partition the first offset, and the offset after the last."""


class Reader:
    """Readers of one cluster, each with a consumer of its own."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def read(
        self,
        topics: Sequence[str],
        since: datetime | None,
        follow: bool,
        until: datetime | None,
        key: str | None,
        start: Mapping[Place, int],
        numbers: Collection[int] | None,
    ) -> AsyncIterator[Record]:
        """Committed records, in order per partition."""
        places = await self._link.partitions(topics)
        async with self._consumer() as kafka:
            wanted = _numbered(places if key is None else _places_of(key, places), numbers)
            spans = await _spans(kafka, wanted, since, until)
            spans |= {p: (start[p], end) for p, (_, end) in spans.items() if p in start}
            walk = _Walk(self._link, kafka, spans, tuple(topics) if follow else (), numbers)
            async for record in walk.records():
                if key is None or record.key == key:
                    yield record

    async def starts(self, topics: Sequence[str]) -> Mapping[Place, int]:
        """Per partition where the log begins."""
        return {place: first for place, (first, _) in (await self._spans(topics, None)).items()}

    async def ends(self, topics: Sequence[str], until: datetime | None) -> Mapping[Place, int]:
        """Per partition the offset after its last committed record; markers take offsets, too."""
        return {place: end for place, (_, end) in (await self._spans(topics, until)).items()}

    async def _spans(
        self, topics: Sequence[str], until: datetime | None
    ) -> Mapping[Place, tuple[int, int]]:
        places = await self._link.partitions(topics)
        async with self._consumer() as kafka:
            spans = await _spans(kafka, places, None, until)
            return {(place.topic, place.partition): span for place, span in spans.items()}

    async def lag(self, group: str, topics: Sequence[str]) -> int:
        """Records from what `group` has committed on, less those that its notes call answered.

        Exact where it has almost caught up.
        """
        places = await self._link.partitions(topics)
        committed = await self._link.offsets.committed(group, places)
        async with self._consumer() as kafka:
            spans = await _spans(kafka, places, None, None)
            open_ = {p: (max(first, committed[p].offset), end) for p, (first, end) in spans.items()}
            far = sum(end - at for at, end in open_.values() if end - at > _NEAR)
            near = {p: (at, end) for p, (at, end) in open_.items() if 0 < end - at <= _NEAR}
            # Where retention has passed the offset nobody knows how many of them are gone.
            whole = [mark for p, mark in committed.items() if mark.offset == open_[p][0]]
            done = sum(beyond(mark.metadata) for mark in whole)
            return far + await self._count(kafka, near) - done

    async def _count(self, kafka: AIOKafkaConsumer, spans: Spans) -> int:
        count = 0
        async for _ in _Walk(self._link, kafka, spans).records():
            count += 1
        return count

    @asynccontextmanager
    async def _consumer(self) -> AsyncIterator[AIOKafkaConsumer]:
        kafka = self._link.consumer()
        await self._link.start(kafka)
        try:
            yield kafka
        finally:
            await self._link.stop(kafka)


class _Walk:
    """One way through spans; endless, and into new partitions, where it `follows` topics."""

    def __init__(
        self,
        link: Link,
        kafka: AIOKafkaConsumer,
        spans: Spans,
        follows: Sequence[str] = (),
        numbers: Collection[int] | None = None,
    ) -> None:
        self._link = link
        self._kafka = kafka
        self._at = {place: first for place, (first, _) in spans.items()}
        self._ends = {place: end for place, (_, end) in spans.items()}
        self._follows, self._numbers = follows, numbers

    async def records(self) -> AsyncIterator[Record]:
        clock = asyncio.get_running_loop().time
        self._assign()
        wait = _FOLLOW_MS if self._follows else _WAIT_MS  # what arrives ends it anyway
        moved = grown = clock()
        while self._unfinished():
            with translating():
                found = await self._kafka.getmany(timeout_ms=wait, max_records=_MOST_RECORDS)
            for place, records in found.items():
                for record in records:
                    if self._follows or record.offset < self._ends[place]:
                        yield to_record(record)
            if await self._advance():
                moved = clock()
            elif clock() - moved > self._link.timing.request:
                await self._link.ask("describe_cluster")  # aiokafka would wait in silence
                moved = clock()
            if self._follows and clock() - grown > self._link.timing.metadata:
                await self._grow()
                grown = clock()

    def _unfinished(self) -> bool:
        return bool(self._follows) or any(self._at[p] < end for p, end in self._ends.items())

    def _assign(self) -> None:
        places = [p for p, at in self._at.items() if self._follows or at < self._ends[p]]
        self._kafka.assign(places)
        for place in places:
            self._kafka.seek(place, self._at[place])

    async def _advance(self) -> bool:
        """Note how far each partition is; holes are passed without a record. True if any moved."""
        moved = False
        for place in self._kafka.assignment():
            at = await self._kafka.position(place)
            moved = moved or at != self._at[place]
            self._at[place] = at
            if not self._follows and at >= self._ends[place]:
                self._kafka.pause(place)
        return moved

    async def _grow(self) -> None:
        """Take in partitions that were added."""
        places = await self._link.partitions(self._follows)
        new = set(_numbered(places, self._numbers)) - self._at.keys()
        if new:
            self._at.update(dict.fromkeys(new, 0))
            self._assign()


def _numbered(
    places: Sequence[TopicPartition], numbers: Collection[int] | None
) -> Sequence[TopicPartition]:
    return places if numbers is None else [p for p in places if p.partition in numbers]


def _places_of(key: str, places: Iterable[TopicPartition]) -> list[TopicPartition]:
    """Of each topic the partition that a producer puts `key` into."""
    partitioner, spelled = DefaultPartitioner(), key.encode("utf-8", "surrogateescape")
    by_topic = defaultdict[str, list[int]](list)
    for place in places:
        by_topic[place.topic].append(place.partition)
    return [
        TopicPartition(topic, partitioner(spelled, sorted(numbers), numbers))
        for topic, numbers in by_topic.items()
    ]


async def _spans(
    kafka: AIOKafkaConsumer,
    places: Iterable[TopicPartition],
    since: datetime | None,
    until: datetime | None,
) -> dict[TopicPartition, tuple[int, int]]:
    """What there is to read in `places`, from `since` on, up to the end of what is committed."""
    places = list(places)
    with translating():
        # The ends first: what comes after them is later than `since` was asked for.
        ends = await kafka.end_offsets(places)
        if since is None:
            firsts = await kafka.beginning_offsets(places)
        else:
            firsts = await _firsts_from(kafka, since, ends)
        if until is not None:
            later = await _firsts_from(kafka, until, ends)
            ends = {place: min(end, later[place]) for place, end in ends.items()}
    return {place: (firsts[place], ends[place]) for place in places}


async def _firsts_from(
    kafka: AIOKafkaConsumer, at: datetime, ends: Mapping[TopicPartition, int]
) -> dict[TopicPartition, int]:
    """Offset of each partition's first record from `at` on; its end where there is none."""
    found = await kafka.offsets_for_times(dict.fromkeys(ends, milliseconds(at)))
    return {place: found[place].offset if found[place] else end for place, end in ends.items()}
