"""Putting back what Kafka has dropped: each group and source goes where its mark is.

Knows offsets that are told as none though there were some. Refuses to touch one that is told,
however wrong. Nobody may be a member of the groups meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping

from aiokafka import TopicPartition
from aiokafka.structs import OffsetAndMetadata

from relay.log.kafka.link import Link
from relay.log.kafka.writer import transact
from relay.log.port import Place


async def restore(
    link: Link, marks: Mapping[str, Mapping[Place, int]]
) -> list[tuple[str, str, int, int]]:
    """Commit what `marks` know where nothing is told: group, topic, partition and offset of each.

    `link` has no marks of its own: it would not believe that there is nothing. A mark may be less
    than what a process had committed in the moment before it was killed.
    """
    found = list[tuple[str, str, int, int]]()
    for group, least in sorted(marks.items()):
        told = await link.offsets(group, [TopicPartition(*place) for place in least])
        dropped = {
            place: least[place.topic, place.partition] for place, at in told.items() if not at
        }
        if dropped:
            await _commit(link, group, dropped)
        found += [(group, place.topic, place.partition, at) for place, at in dropped.items()]
    return found


async def _commit(link: Link, group: str, dropped: Mapping[TopicPartition, int]) -> None:
    producer = link.producer(f"apply.{group}")  # whoever may set a first offset may do this
    await link.start(producer)
    try:
        moves = {place: OffsetAndMetadata(at, "") for place, at in dropped.items()}
        await transact(link, producer, group, moves, ())
    finally:
        await link.stop(producer)
