"""A member of a group on the embedded log: claims, their delivery, and keeping up its share.

Knows what it holds and how far it has delivered. Refuses to know how rows are read and written:
`Reader` and `Writer` do that.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from relay.errors import Fenced, Unavailable
from relay.log.port import Claim, Committed, Member, Message, Record
from relay.log.sqlite.appends import ClaimFence, Placed
from relay.log.sqlite.groups import Held, Membership
from relay.log.sqlite.reader import Fetch, Reader
from relay.log.sqlite.writer import Writer

log = logging.getLogger(__name__)

LOOK_AGAIN = 1.0
"""Seconds after which all partitions are read although nobody rang."""
_MOST_METADATA = 4000
_MOST_RECORDS = 512
"""Records of one partition in one answer, give or take a row."""


class Shelf(Protocol):
    """What a consumer asks of the log it belongs to."""

    @property
    def reader(self) -> Reader: ...
    @property
    def writer(self) -> Writer: ...

    async def place(self, messages: Sequence[Message]) -> list[Placed]:
        """Each message with its partition; `Misconfigured` where its topic is missing.

        `ValueError` where one is longer than any log takes.
        """

    def ring_members(self) -> None:
        """Tell all members, here and in other processes, that claims may be free."""

    def forget(self, consumer: SqliteConsumer) -> None: ...


class SqliteClaim:
    """Ownership of one input partition, fenced by its epoch."""

    def __init__(self, shelf: Shelf, consumer: SqliteConsumer, held: Held) -> None:
        self._shelf = shelf
        self._consumer = consumer
        self._held = held
        self.next = held.committed.offset
        self.paused = False
        self.dead = False

    @property
    def id(self) -> int:
        return self._held.id

    @property
    def epoch(self) -> int:
        return self._held.epoch

    @property
    def partition_id(self) -> int:
        return self._held.partition

    @property
    def topic(self) -> str:
        return self._held.topic

    @property
    def partition(self) -> int:
        return self._held.number

    @property
    def committed(self) -> Committed:
        return self._held.committed

    async def commit(self, mark: Committed, messages: Sequence[Message]) -> None:
        if self.dead:
            raise Fenced(f"{self.topic}/{self.partition} was given up")
        if len(mark.metadata) > _MOST_METADATA or not mark.metadata.isascii():
            raise ValueError(f"an offset's metadata is at most {_MOST_METADATA} bytes of ASCII")
        placed = await self._shelf.place(messages)
        await self._shelf.writer.append(ClaimFence(self.id, self.epoch, mark), placed)

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False
        self._consumer.wake()


class SqliteConsumer:
    """One member of a group; `poll` keeps its membership, so it has no task of its own."""

    def __init__(self, shelf: Shelf, membership: Membership, member: Member) -> None:
        self._shelf = shelf
        self._membership = membership
        self._member = member
        self._beat = membership.session / 5
        self._claims: dict[int, SqliteClaim] = {}
        self._bell = asyncio.Event()
        self._grown: set[int] = set()
        """Partitions that may hold records we have not delivered."""
        self._balance_at = 0.0
        self._look_at = 0.0
        self._new = True
        self._closed = False

    async def poll(self, max_wait: float) -> Mapping[Claim, Sequence[Record]]:
        loop = asyncio.get_running_loop()
        end = loop.time() + max_wait
        while True:
            self._bell.clear()
            if loop.time() >= self._balance_at:
                await self._keep_up(loop.time())
            found = await self._fetch(loop.time())
            if found or loop.time() >= end:
                return found
            await self._wait(min(end, self._balance_at, self._look_at) - loop.time())

    def demand_claims(self) -> None:
        return  # what is ours is held at once

    async def reclaim(self, claim: Claim) -> Claim | None:
        old = self._claims.get(claim.id) if isinstance(claim, SqliteClaim) else None
        if old is None or old is not claim:
            return None
        held = await self._shelf.writer.call(lambda db: self._membership.reclaim(db, old.id))
        old.dead = True
        if held is None:
            self.rebalance()
            return None
        return self._hold(held)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._shelf.forget(self)
        for claim in list(self._claims.values()):
            await self._revoke(claim)
        try:
            await self._shelf.writer.call(self._membership.leave)
        except Unavailable as error:
            log.warning("left %s without saying so: %s", self._membership.group, error)
            return  # our session runs out by itself
        self._shelf.ring_members()

    def wake(self) -> None:
        """Look again at once."""
        self._bell.set()

    def rebalance(self) -> None:
        """Look at who holds what at once."""
        self._balance_at = 0.0
        self._bell.set()

    def grown(self, partitions: Collection[int]) -> None:
        """Records were appended to `partitions` (their ids)."""
        ours = {c.partition_id for c in self._claims.values()}.intersection(partitions)
        if ours:
            self._grown |= ours
            self._bell.set()

    async def _keep_up(self, now: float) -> None:
        """Beat; give up what is lost or beyond our share, take what is free within it."""
        # Set first: who asks for another look while this one is under way gets it.
        self._balance_at = now + self._beat
        known = dict(self._claims)
        try:
            found = await self._shelf.writer.call(lambda db: self._membership.balance(db, known))
        except BaseException:
            self._balance_at = 0.0
            raise
        if self._new:
            self._new = False
            self._shelf.ring_members()  # those who hold too much now give it up
        for claim in known.values():
            reclaimed = self._claims.get(claim.id) is not claim
            if not reclaimed and found.held.get(claim.id) != claim.epoch:
                await self._revoke(claim)
        for claim in [self._claims[id_] for id_ in found.excess if id_ in self._claims]:
            await self._revoke(claim)
        if found.excess:  # also what could not be released the last time
            await self._shelf.writer.call(lambda db: self._membership.release(db, found.excess))
            self._shelf.ring_members()
        for held in found.taken:
            await self._member.assigned(self._hold(held))

    async def _revoke(self, claim: SqliteClaim) -> None:
        await self._member.revoked(claim)
        claim.dead = True
        del self._claims[claim.id]

    def _hold(self, held: Held) -> SqliteClaim:
        claim = SqliteClaim(self._shelf, self, held)
        self._claims[held.id] = claim
        self._grown.add(held.partition)
        return claim

    async def _fetch(self, now: float) -> dict[Claim, Sequence[Record]]:
        if now >= self._look_at:
            self._look_at = now + LOOK_AGAIN
            self._grown |= {claim.partition_id for claim in self._claims.values()}
        ready = [
            claim
            for claim in self._claims.values()
            if claim.partition_id in self._grown and not claim.paused
        ]
        if not ready:
            return {}
        self._grown -= {claim.partition_id for claim in ready}
        wanted = [Fetch(c.partition_id, c.topic, c.partition, c.next) for c in ready]
        answers = await self._shelf.reader.fetch(wanted, _MOST_RECORDS)
        return self._delivered(ready, answers)

    def _delivered(
        self, ready: Sequence[SqliteClaim], answers: Sequence[Sequence[Record]]
    ) -> dict[Claim, Sequence[Record]]:
        found: dict[Claim, Sequence[Record]] = {}
        for claim, records in zip(ready, answers, strict=True):
            if not records:
                continue
            self._grown.add(claim.partition_id)  # there may be more
            if self._claims.get(claim.id) is claim and not claim.paused:
                claim.next = records[-1].offset + 1
                found[claim] = records
        return found

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self._bell.wait()
        except TimeoutError:
            return
