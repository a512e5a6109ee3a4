"""A log in memory that breaks where it is told to, and processes that are killed without a word.

The real `Runner`, on a clock that jumps to whatever is due next: what takes hours of faults on a
broker takes seconds here.
"""

from __future__ import annotations

import asyncio
import selectors
from collections import defaultdict
from collections.abc import Coroutine, Mapping, Sequence
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any
from zlib import crc32

from relay.errors import Fenced, OutcomeUnknown, Unavailable
from relay.log.port import Claim, Committed, Member, Message, Record

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEPT = "kept"
FATES = ("down", "fenced", "unknown kept", "unknown lost", "hang kept", "hang lost")
"""What may befall a commit; where it is not known or hangs, it was kept or it was lost."""


class Jumping(asyncio.SelectorEventLoop):
    """A loop whose clock jumps to the next timer as soon as nothing else is to be done."""

    def __init__(self) -> None:
        self.now = 0.0
        selector = selectors.SelectSelector()
        ready = selector.select

        def select(timeout: float | None = None) -> list[Any]:
            if timeout is None:
                raise RuntimeError("everybody waits for ever")
            self.now += max(0.0, timeout)
            return ready(0)

        selector.select = select  # type: ignore[method-assign]
        super().__init__(selector)
        self.set_task_factory(_belonging)

    def time(self) -> float:
        return self.now

    def run(self, seconds: float) -> None:
        """Let everybody go on for a while."""
        self.run_until_complete(asyncio.sleep(seconds))


class Process:
    """Whoever runs in it dies with it: tasks are cancelled, and nothing it says counts any more."""

    def __init__(self, loop: Jumping) -> None:
        self._loop = loop
        self.tasks: set[asyncio.Task[Any]] = set()
        self.dead = False

    def run(self, main: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start `main` in this process."""
        token = _PROCESS.set(self)
        try:
            return self._loop.create_task(main)
        finally:
            _PROCESS.reset(token)

    def kill(self) -> None:
        """SIGKILL, as far as a log can see it."""
        self.dead = True
        while left := [task for task in self.tasks if not task.done()]:
            for task in left:
                task.cancel()
            self._loop.run_until_complete(asyncio.wait(left, timeout=0.01))


_PROCESS: ContextVar[Process | None] = ContextVar("process", default=None)


def _belonging(
    loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any], **how: Any
) -> asyncio.Task[Any]:
    task = asyncio.Task(coro, loop=loop, **how)
    if (process := _PROCESS.get()) is not None:
        process.tasks.add(task)
        task.add_done_callback(process.tasks.discard)
    return task


Place = tuple[str, int]


class MemoryLog:
    """Partitions, offsets with holes, one epoch a claim; `fates` befall the next commits."""

    def __init__(self, partitions: int) -> None:
        self.partitions = partitions
        self.records: dict[Place, list[Record]] = defaultdict(list)
        self.committed: dict[Place, Committed] = defaultdict(lambda: Committed(0))
        self.epochs: dict[Place, int] = defaultdict(int)
        self.owners: dict[Place, MemoryConsumer] = {}
        self.members: list[MemoryConsumer] = []
        self.fates: list[str] = []

    async def join(self, group: str, topics: Sequence[str], member: Member) -> MemoryConsumer:
        process = _PROCESS.get()
        assert process is not None
        consumer = MemoryConsumer(self, process, member)
        self.members.append(consumer)
        for n in range(self.partitions):
            if (topics[0], n) not in self.owners:
                self.give((topics[0], n), consumer)
        return consumer

    def append(self, messages: Sequence[Message]) -> None:
        """Each to its key's partition; a hole before every third, as commit markers make them."""
        for message in messages:
            place = (message.topic, crc32(message.key.encode()) % self.partitions)
            last = self.records[place][-1].offset if self.records[place] else -1
            offset = last + (2 if len(self.records[place]) % 3 == 2 else 1)
            self.records[place].append(
                Record(*place, offset, message.key, message.value, message.headers, NOW)
            )
        for consumer in self.members:
            consumer.wake()

    def give(self, place: Place, consumer: MemoryConsumer) -> None:
        """Make `consumer` the owner; whoever was hears of it when it polls next."""
        before = self.owners.get(place)
        self.owners[place] = consumer
        self.epochs[place] += 1
        for each in {before, consumer} - {None}:
            assert each is not None
            each.wake()

    def fence(self, place: Place) -> None:
        """Somebody was the owner for a moment."""
        self.epochs[place] += 1

    def bury(self) -> None:
        """Sessions of the dead run out: whoever was killed in mid-goodbye is gone, too."""
        for consumer in [each for each in self.members if each.process.dead]:
            self.leave(consumer)

    def leave(self, consumer: MemoryConsumer) -> None:
        """Its partitions go to whoever is left, or wait for the next to join."""
        self.members = [each for each in self.members if each is not consumer]
        for place in [place for place, owner in self.owners.items() if owner is consumer]:
            del self.owners[place]
            if self.members:
                self.give(place, self.members[0])


class MemoryClaim:
    """Ownership at one epoch."""

    def __init__(self, log: MemoryLog, consumer: MemoryConsumer, place: Place) -> None:
        self._log, self._consumer, self.place = log, consumer, place
        log.epochs[place] += 1
        self.epoch = log.epochs[place]
        self.committed = log.committed[place]
        self.next = self.committed.offset
        self.paused = False
        self.over = False

    @property
    def topic(self) -> str:
        return self.place[0]

    @property
    def partition(self) -> int:
        return self.place[1]

    async def commit(self, mark: Committed, messages: Sequence[Message]) -> None:
        await asyncio.sleep(0.001)
        self._stand()
        fate = self._log.fates.pop(0) if self._log.fates else KEPT
        if fate == "down":
            raise Unavailable("the log does not answer")
        if fate == "fenced":
            self._log.fence(self.place)
            self._stand()
        if fate.endswith(KEPT):
            self._log.committed[self.place] = mark
            self._log.append(messages)
        await asyncio.sleep(0.001)
        if fate.startswith("hang"):
            await asyncio.sleep(10)
        if fate.startswith(("hang", "unknown")):
            self.over = True
            raise OutcomeUnknown("the connection broke in mid-commit")

    def _stand(self) -> None:
        if self._consumer.process.dead or self.over or not self._owns():
            raise Fenced("another owns it")

    def _owns(self) -> bool:
        return self._log.epochs[self.place] == self.epoch

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False
        self._consumer.wake()


class MemoryConsumer:
    """One member; it learns what it holds when it polls."""

    def __init__(self, log: MemoryLog, process: Process, member: Member) -> None:
        self._log, self._member = log, member
        self.process = process
        self._claims: dict[Place, MemoryClaim] = {}
        self._bell = asyncio.Event()
        self.deaf = False
        """It hears of no rebalance, and goes on: as one that froze does."""

    def wake(self) -> None:
        self._bell.set()

    async def poll(self, max_wait: float) -> Mapping[Claim, Sequence[Record]]:
        self._bell.clear()
        await self._heed()
        if not (found := self._fetch()):
            try:
                async with asyncio.timeout(max_wait):
                    await self._bell.wait()
            except TimeoutError:
                return {}
        return found or self._fetch()

    def demand_claims(self) -> None:
        return

    async def reclaim(self, claim: Claim) -> Claim | None:
        assert isinstance(claim, MemoryClaim)
        if self._claims.get(claim.place) is not claim or self._lost(claim.place):
            return None
        claim.over = True
        self._claims[claim.place] = MemoryClaim(self._log, self, claim.place)
        return self._claims[claim.place]

    async def close(self) -> None:
        for claim in list(self._claims.values()):
            await self._revoke(claim)
        self._log.leave(self)

    async def _heed(self) -> None:
        if self.deaf:
            return
        for claim in list(self._claims.values()):
            if self._lost(claim.place):
                await self._revoke(claim)
        for place, owner in list(self._log.owners.items()):
            if owner is self and place not in self._claims:
                self._claims[place] = MemoryClaim(self._log, self, place)
                await self._member.assigned(self._claims[place])

    async def _revoke(self, claim: MemoryClaim) -> None:
        await self._member.revoked(claim)
        claim.over = True
        self._claims.pop(claim.place, None)

    def _lost(self, place: Place) -> bool:
        return self.process.dead or self._log.owners.get(place) is not self

    def _fetch(self) -> dict[Claim, Sequence[Record]]:
        found: dict[Claim, Sequence[Record]] = {}
        for claim in self._claims.values():
            records = [r for r in self._log.records[claim.place] if r.offset >= claim.next][:8]
            if records and not claim.paused:
                claim.next = records[-1].offset + 1
                found[claim] = records
        return found
