"""Putting back what Kafka has dropped: each group and source goes where its mark is.

Knows offsets that are told as none though there were some, and marks that no partition of this
cluster reaches. Refuses to touch an offset that is told, however wrong. Nobody may be a member of
the groups meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from aiokafka import TopicPartition
from aiokafka.structs import OffsetAndMetadata

from relay.log.kafka.link import Link
from relay.log.kafka.reader import Reader
from relay.log.kafka.setup import POSITION, source_of, until_told
from relay.log.kafka.writer import transact
from relay.log.marks import NOWHERE
from relay.log.port import Committed, Place

Marked = Mapping[str, Mapping[Place, Committed]]
"""By group or source, how far it is known to have come."""


class Row(NamedTuple):
    """Where a group, or a source, was."""

    group: str
    topic: str
    partition: int
    offset: int


async def restore(
    link: Link, marks: Marked, reads: Mapping[str, Sequence[str]] | None = None
) -> list[Row]:
    """Commit what `marks` know where nothing is told; what was committed.

    `reads` says which topics a group reads: in one that it had not begun on when the rest was
    dropped it has no mark, and begins, or what lies there would look like work done. `link` has no
    marks of its own: it would not believe that there is nothing. A mark may be less than what a
    process had committed in the moment before it was killed.
    """
    found, counts = list[Row](), await link.counts()
    for group, least in sorted(marks.items()):
        dropped = await _untold(link, group, least)
        if dropped:
            topics = set((reads or {}).get(group, ())) - {topic for topic, _ in least}
            fresh = {(topic, n): NOWHERE for topic in topics for n in range(counts.get(topic, 0))}
            dropped |= await _untold(link, group, fresh)
            await _commit(link, group, dropped)
        found += [
            Row(group, place.topic, place.partition, mark.offset)
            for place, mark in sorted(dropped.items())
        ]
    return found


async def divided(link: Link, marks: Marked) -> tuple[Marked, list[Row]]:
    """The marks that may be of this cluster, and those that cannot be: their partition ends before.

    That one is of another cluster, or its topic was made anew. A source's position is none of a
    topic's offsets, and may be of any cluster.
    """
    topics = {topic for least in marks.values() for topic, _ in least if topic != POSITION.topic}
    there = topics & (await link.counts()).keys()
    ends = await Reader(link).ends(sorted(there), None) if there else {}
    ours: dict[str, dict[Place, Committed]] = {}
    strange = list[Row]()
    for group, least in sorted(marks.items()):
        for place, mark in sorted(least.items()):
            if place[0] == POSITION.topic or mark.offset <= ends.get(place, -1):
                ours.setdefault(group, {})[place] = mark
            else:
                strange.append(Row(group, *place, mark.offset))
    return ours, strange


async def _untold(
    link: Link, group: str, marks: Mapping[Place, Committed]
) -> dict[TopicPartition, Committed]:
    """Those of `marks` in whose place the broker tells nothing."""
    told = await link.offsets.of(group, [TopicPartition(*place) for place in marks])
    return {place: marks[place.topic, place.partition] for place, at in told.items() if not at}


async def _commit(link: Link, group: str, dropped: Mapping[TopicPartition, Committed]) -> None:
    await link.partitions({place.topic for place in dropped})  # or it would wait for them
    producer = link.producer(_writer(group, dropped))
    await link.start(producer)
    try:
        moves = {
            place: OffsetAndMetadata(mark.offset, mark.metadata) for place, mark in dropped.items()
        }
        await transact(link, producer, group, moves, ())
        await until_told(link, group, list(dropped))
    finally:
        await link.stop(producer)


def _writer(group: str, dropped: Mapping[TopicPartition, Committed]) -> str:
    """A source's is its own, which whoever feeds it may use: an edge may do no more."""
    return f"source.{source_of(group)}" if POSITION in dropped else f"apply.{group}"
