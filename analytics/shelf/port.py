"""The `Shelf` port: rows of figures and the positions they were counted up to, written together.

Knows that whoever counts a partition holds it. Refuses to know figures. Two implementations
(`file`, `tables`) pass one contract test. What lies there can be thrown away: it is counted anew,
as far back as the topics are kept.

Errors of every call: `Unavailable` (try again), `Misconfigured` (refuse to start).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Protocol

from analytics.definitions import Figure
from analytics.rows import Row, Size, Where
from relay.log.port import Place, Record

Held = Mapping[int, int]
"""Numbers of the partitions that are ours to count, in every topic; each with what tells this
holding of it from any other."""


class Shelf(Protocol):
    """Where figures lie. Everybody reads all of them, and counts their own part."""

    async def share(self, partitions: int, held: Held) -> Held:
        """Say that we count and what we `held`; what we hold of so many partitions from now on.

        Called every few seconds: partitions of whoever does not call go to those who do.
        """

    async def leave(self) -> None:
        """Give back all we hold, for others to take at once."""

    async def positions(self) -> dict[Place, int]:
        """Per partition the offset of the next record to be counted, whoever counts there."""

    async def take(self, records: Sequence[Record], held: Held) -> None:
        """Count `records`, in order per partition, and move on: all of it or nothing.

        `held` is what we held when the first of them was fetched. `Fenced` where a partition of
        theirs is another's now, or has been meanwhile; nothing is counted then.
        """

    async def rows(self, size: Size, since: int = 0) -> list[Row]:
        """Rows of that size, of all partitions, whose windows begin at `since` or later."""

    async def total(self, size: Size, since: int = 0) -> Counter[Figure]:
        """The sum of those rows, added up where they lie: of all days there may be many."""

    async def all(self) -> dict[Where, Row]:
        """Everything, for a comparison."""
