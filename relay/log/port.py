"""The `Log` port: partitioned topics, exclusive partitions, and one atomic step.

Knows records, claims on partitions and positions of sources. Refuses to know events, stages and
windows. Two implementations (`sqlite`, `kafka`) pass one contract suite.

Errors of every call: `Unavailable` (try again), `Fenced` (claim again), `OutcomeUnknown` (claim
again and read what was kept), `Misconfigured` (refuse to start).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from schemas.envelope import Headers

Place = tuple[str, int]
"""A partition: its topic, and its number."""
_OVERHEAD = 200  # of a message and its headers' lengths, generously


@dataclass(frozen=True, slots=True)
class Message:
    """What is appended; `key` picks the partition, equal keys the same one."""

    topic: str
    key: str
    value: bytes
    headers: Headers = ()

    @property
    def size(self) -> int:
        """Bytes that it takes on a log, at most."""
        size = len(self.value) + len(self.key.encode("utf-8", "surrogateescape")) + _OVERHEAD
        return size + sum(len(name) + len(value) + 10 for name, value in self.headers)


MOST_BYTES = 900_000
"""Of an event. What is sent on as it came with headers added (a dead letter, a redrive) may be
larger, so that whatever was appended once can be appended again."""
LONGEST = 1_000_000
"""Of any message: a log refuses more (`ValueError`)."""


def refuse_long(messages: Sequence[Message]) -> None:
    """What every log does before it appends."""
    for message in messages:
        if message.size > LONGEST:
            raise ValueError(f"a message for {message.topic} is too large: {message.size} bytes")


@dataclass(frozen=True, slots=True)
class Record:
    """What was appended. Offsets of a partition rise but may have holes."""

    topic: str
    partition: int
    offset: int
    key: str
    value: bytes
    headers: Headers
    appended: datetime


@dataclass(frozen=True, slots=True)
class Committed:
    """What a group has committed for a partition: offset of the next record, and a note with it."""

    offset: int
    metadata: str = ""


class Claim(Protocol):
    """Exclusive, fenced ownership of one input partition by one member of a group.

    A claim is born with what was committed before it: everything an earlier owner did is settled
    by then. Delivery starts at `committed.offset`.
    """

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def committed(self) -> Committed: ...

    async def commit(self, mark: Committed, messages: Sequence[Message]) -> None:
        """Append `messages` and replace what is committed by `mark`: both or neither.

        One call at a time per claim. `mark.metadata` is at most 4,000 bytes of ASCII, a message at
        most `LONGEST` bytes; beyond that `ValueError`, and the claim stands.
        """

    def pause(self) -> None:
        """Deliver no more records of this partition until `resume`."""

    def resume(self) -> None: ...


class Member(Protocol):
    """What the log tells the one who joined a group. Calls never overlap.

    `assigned` and `revoked` are awaited by the log. After `revoked` (or `lost`) a claim's commit
    raises `Fenced`. Within `revoked` it may still commit.
    """

    async def assigned(self, claim: Claim) -> None: ...
    async def revoked(self, claim: Claim) -> None: ...


class Consumer(Protocol):
    """One member of a group, fetching for the claims it holds."""

    async def poll(self, max_wait: float) -> Mapping[Claim, Sequence[Record]]:
        """Records fetched since the last call, in order per partition; may be empty.

        Returns early when records arrive; `max_wait` in seconds. Membership is kept up by calling
        this at least every few seconds.
        """

    def demand_claims(self) -> None:
        """Raise `Unavailable` where a partition of ours waits for long: no record will say so."""

    async def reclaim(self, claim: Claim) -> Claim | None:
        """After `Fenced` or `OutcomeUnknown` on a claim still assigned: a fresh claim, or None.

        The new claim's `committed` tells what the log kept; delivery starts there. The old claim
        is dead. None where the partition is no longer ours (then `revoked` was or will be called).
        """

    async def close(self) -> None:
        """Leave the group at once; every claim is revoked first."""


class Source(Protocol):
    """A feeder of the log from outside it, with its position inside the appending transaction."""

    @property
    def position(self) -> int:
        """The last position that was committed; 0 before the first."""

    async def append(self, messages: Sequence[Message], position: int) -> None:
        """Append `messages` and move to `position`: both or neither."""


class Log(Protocol):
    """Where events lie."""

    async def join(self, group: str, topics: Sequence[str], member: Member) -> Consumer:
        """Join `group`; partitions of `topics` are shared among its members."""

    def source(self, name: str) -> AbstractAsyncContextManager[Source]:
        """Become the one source `name`; an earlier holder is fenced and its last append settled."""

    def read(
        self,
        topics: Sequence[str],
        since: datetime | None = None,
        follow: bool = False,
        *,
        until: datetime | None = None,
        key: str | None = None,
        start: Mapping[Place, int] | None = None,
        numbers: Collection[int] | None = None,
    ) -> AsyncIterator[Record]:
        """Committed records without joining a group, in order per partition.

        From the start or from `since` (time of append) to the end as it is now, or for ever;
        partitions that `start` names begin at that offset instead. With `until` each partition
        ends before its first record from that time on. With `key` only records of that key, looked
        for where an append would put it now: what was appended before partitions were added may
        lie elsewhere. With `numbers` only the partitions so numbered, of each topic.
        """

    async def starts(self, topics: Sequence[str]) -> Mapping[Place, int]:
        """Per partition of `topics` an offset before which all was dropped; 0 where nothing was.

        Its first record, where it has one, is there or later.
        """

    async def ends(
        self, topics: Sequence[str], until: datetime | None = None
    ) -> Mapping[Place, int]:
        """Per partition of `topics` an offset after its last committed record.

        With `until` that of its first record from that time on, where it has one.
        """

    def partition_of(self, key: str, partitions: int) -> int:
        """Where, of so many partitions, an append puts records of `key`."""

    async def lag(self, group: str, topics: Sequence[str]) -> int:
        """Upper bound of the records that `group` has not yet answered."""

    async def apply(
        self,
        partitions: Mapping[str, int],
        groups: Mapping[str, Sequence[str]],
        sources: Sequence[str],
    ) -> None:
        """Create what is missing: topics, each group's first offsets, each source's position.

        Idempotent; never lowers a partition count and never touches an offset that exists.
        """

    async def trim(self, kept: Mapping[str, timedelta]) -> int:
        """Drop records older than their topic is `kept`, if every group has answered them.

        How many went. A log that does so by itself, by what `apply` has set, drops nothing here.
        Offsets and positions stay as they are, and readers go on with what is left.
        """

    async def check(self) -> None:
        """Raise `Unavailable` unless the log answers."""

    async def close(self) -> None: ...
