"""Committed offsets: what the broker says of a group, held against what we have seen ourselves.

Knows the question, how long it is asked, and the marks. Refuses to know clients, and who asks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from aiokafka import TopicPartition
from aiokafka.structs import OffsetAndMetadata

from relay.errors import Unavailable
from relay.log.kafka.failures import NoOffset
from relay.log.kafka.timing import Timing
from relay.log.marks import NOWHERE, Marks, further
from relay.log.port import Committed, Place
from relay.note import beyond

_ASK_AGAIN, _LONGEST_PAUSE = 0.1, 2.0


class Offsets:
    """What groups have committed on one cluster, which `ask` asks."""

    def __init__(
        self, ask: Callable[..., Awaitable[Any]], timing: Timing, marks: Marks | None = None
    ) -> None:
        self._ask, self._timing, self._marks = ask, timing, marks

    async def of(
        self, group: str, partitions: Sequence[TopicPartition]
    ) -> dict[TopicPartition, Committed | None]:
        """What `group` has committed, None where nothing.

        `Unavailable` where it cannot be told, or where less is told than was committed.
        """
        if not partitions:
            return {}
        least, found = await self._told(group, partitions)
        self._compare(group, found, least)
        return found

    async def committed(
        self, group: str, partitions: Sequence[TopicPartition]
    ) -> dict[TopicPartition, Committed]:
        """What `group` has committed; `NoOffset` where nothing."""
        found = await self.of(group, partitions)
        known = {tp: mark for tp, mark in found.items() if mark is not None}
        for tp in partitions:
            if tp not in known:
                raise NoOffset(
                    f"Group {group} has no committed offset for {tp.topic}/{tp.partition}: it was "
                    "never set up, or Kafka has dropped it. For a new one run `voxrelay topics "
                    "apply`; for an old one that would repeat all its work"
                )
        return known

    async def begun(
        self, group: str, partitions: Sequence[TopicPartition]
    ) -> dict[TopicPartition, Committed]:
        """The same, for who sets out from there: a first offset may come, or be told, a bit later.

        `apply` may be about to write it, and a broker that has just started may not tell it yet.
        """
        clock = asyncio.get_running_loop().time
        patience, pause = clock() + self._timing.first_offset, _ASK_AGAIN
        while True:
            try:
                return await self.committed(group, partitions)
            except NoOffset:
                if clock() > patience:
                    raise
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def note(self, group: str, place: TopicPartition, mark: Committed) -> None:
        """Remember that `group` has committed `mark`."""
        if self._marks is not None:
            self._marks.note(group, (place.topic, place.partition), mark)

    async def forget(self, group: str) -> None:
        """Let `group` begin anew."""
        if self._marks is not None:
            await self._marks.forget(group)

    async def _told(
        self, group: str, partitions: Sequence[TopicPartition]
    ) -> tuple[Mapping[Place, Committed], dict[TopicPartition, Committed | None]]:
        """What we have seen before the question, and what the broker says, true or not.

        Of what is committed while it is asked, it need not know.

        A partition absent from the answer never means nothing: aiokafka drops the answer's own
        error, that of a broker which still loads the group, for one. So it is asked again.
        """
        try:
            async with asyncio.timeout(self._timing.start):
                while True:
                    least = await self._marks.least(group) if self._marks else {}
                    found = await self._ask(
                        "list_consumer_group_offsets", group, partitions=list(partitions)
                    )
                    if found.keys() >= set(partitions):
                        return least, {tp: _mark(found[tp]) for tp in partitions}
                    await asyncio.sleep(_ASK_AGAIN)
        except TimeoutError:
            raise Unavailable(f"Kafka does not tell what group {group} has committed") from None

    def _compare(
        self,
        group: str,
        told: Mapping[TopicPartition, Committed | None],
        least: Mapping[Place, Committed],
    ) -> None:
        """Raise `Unavailable` where less is told than we have seen; the rest is noted as seen."""
        for place, found in told.items():
            mark, known = found or NOWHERE, least.get(tuple(place), NOWHERE)
            if further(known, mark):
                raise Unavailable(
                    f"Kafka says that group {group} has come to {_far(mark)} in "
                    f"{place.topic}/{place.partition}, and it had come to {_far(known)}: believed, "
                    "that would repeat its work. docs/reliability.md says why, and how to go on"
                )
            if further(mark, known):
                self.note(group, place, mark)


def _mark(found: OffsetAndMetadata) -> Committed | None:
    return Committed(found.offset, found.metadata or "") if found.offset >= 0 else None


def _far(mark: Committed) -> str:
    done = beyond(mark.metadata)
    return f"{mark.offset} (and {done} beyond)" if done else str(mark.offset)
