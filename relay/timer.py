"""The second and last loop: what falls due is done once, and what follows goes to the log.

Knows due rows and their leases. A handler says what follows as values; the events reach the outbox
in the transaction that marks the row done, so a death between the two repeats nothing. A handler
may be called again for a row after a death. Refuses to know what any kind of row means.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import inf
from typing import Any, TypeVar
from uuid import UUID, uuid5

from relay.claims import claim
from relay.codec import encode
from relay.errors import Unavailable
from relay.keys import KeyStore
from relay.log.port import Message
from relay.outbox import enqueue
from relay.retry import until_available
from relay.sql import dues
from relay.sql.database import Database, Transaction
from relay.sql.dues import WOKEN, Due
from relay.stopping import until_stopped
from relay.telemetry import Health
from schemas.envelope import Head
from schemas.events import Event
from schemas.sealed import sealed_fields
from schemas.topics import topic_of

log = logging.getLogger(__name__)

LIFE = timedelta(seconds=30)
"""How long a row waits for a process that died while working on it."""
POLL = 1.0
AT_ONCE = 16
_LONGEST_PAUSE = timedelta(hours=1)
_REGULAR = UUID("0b7f6a53-6a5e-5c34-8a51-3f6d5a2a6c01")


@dataclass(frozen=True, slots=True)
class Done:
    """The row is done, and `events` (children of its head) follow.

    With `claim`, the id of something that waits: only if nobody ended that before.
    """

    events: Sequence[Event] = ()
    claim: UUID | None = None


@dataclass(frozen=True, slots=True)
class Again:
    """Do the row again at `at`, perhaps with another payload."""

    at: datetime
    payload: Mapping[str, Any] | None = None


T = TypeVar("T")
Handler = Callable[[Due], Awaitable[Done | Again]]
"""Raises `Unavailable` where our world is down: the row is done again later."""


def pause(tries: int) -> timedelta:
    """How long to leave a row that could not be done alone: 2, 4, 8 s … an hour."""
    return min(timedelta(seconds=2 ** min(tries, 12)), _LONGEST_PAUSE)


class Timer:
    """Does what falls due, as one of any number of processes, until `stop`."""

    def __init__(
        self,
        database: Database,
        keys: KeyStore,
        handlers: Mapping[str, Handler],
        health: Health | None = None,
        *,
        regularly: Mapping[str, timedelta] | None = None,
        life: timedelta = LIFE,
        poll: float = POLL,
        at_once: int = AT_ONCE,
    ) -> None:
        """`regularly` names the kinds of which there is one row for ever, and how often it is due.

        Their handlers' `Done` is followed by the next time by itself.
        """
        self._database, self._keys, self._handlers = database, keys, handlers
        self.health = health or Health()
        self._regularly = dict(regularly or {})
        self._life, self._poll, self._at_once = life, poll, at_once
        self._owner = secrets.token_hex(8)
        self._stopping = asyncio.Event()
        self._wake = database.signal(WOKEN)

    def stop(self) -> None:
        """End `run` after the rows being worked on."""
        self._stopping.set()
        self._wake.set()

    async def run(self) -> None:
        """Do what falls due until `stop`. While the database is down, `health` says so.

        A row that takes long when it stops is left to the next process.
        """
        await until_stopped(self._loop(), self._stopping)

    async def _loop(self) -> None:
        await self._until(lambda: self._database.run(self._begin))
        working = set[asyncio.Task[None]]()
        try:
            while not self._stopping.is_set():
                self._wake.clear()
                working |= await self._start(self._at_once - len(working))
                working -= await self._rest(working)
            await asyncio.gather(*working)
        finally:
            for task in working:
                task.cancel()
            await asyncio.gather(*working, return_exceptions=True)

    async def once(self) -> int:
        """Do the rows that are due now, some at once; how many there were."""
        working = await self._start(self._at_once)
        await asyncio.gather(*working)
        return len(working)

    async def _until(self, call: Callable[[], Awaitable[T]]) -> T:
        return await until_available(call, "timer", self.health)

    # -- between rows -------------------------------------------------------------------------

    async def _begin(self, tx: Transaction) -> None:
        for kind in self._regularly:
            await dues.schedule(tx, Due(uuid5(_REGULAR, kind), kind, tx.now))

    async def _start(self, most: int) -> set[asyncio.Task[None]]:
        """Begin rows that are due, `most` at most."""
        kinds = tuple(self._handlers)

        async def lease(tx: Transaction) -> Sequence[Due]:
            return await dues.lease(tx, self._owner, self._life, kinds, most)

        if most == 0 or await self._until(self._seconds) > 0:
            return set()
        rows = await self._until(lambda: self._database.run(lease))
        return {asyncio.create_task(self._do(row)) for row in rows}

    async def _rest(self, working: set[asyncio.Task[None]]) -> set[asyncio.Task[None]]:
        """Until a row falls due, ends, or is added here, or it is time to look; what ended."""
        full = len(working) >= self._at_once
        seconds = self._poll if full else min(self._poll, await self._until(self._seconds))
        woken = asyncio.create_task(self._wake.wait())
        try:
            done, _ = await asyncio.wait(
                {woken, *working}, timeout=max(seconds, 0), return_when="FIRST_COMPLETED"
            )
        finally:
            woken.cancel()
        ended = working & done
        for task in ended:
            task.result()
        return ended

    async def _seconds(self) -> float:
        """How long until a row can be taken: 0 where one can be now, infinite where there is none.

        Reads only, so a timer with nothing to do writes nothing.
        """
        async with self._database.reading() as tx:
            at = await dues.next_at(tx, self._life, tuple(self._handlers))
        return inf if at is None else max(0.0, (at - tx.now).total_seconds())

    # -- one row ------------------------------------------------------------------------------

    async def _do(self, row: Due) -> None:
        work = asyncio.create_task(self._ask(row))
        try:
            while not (await asyncio.wait({work}, timeout=self._life.total_seconds() / 3))[0]:
                await self._until(
                    lambda: self._database.run(
                        lambda tx: dues.hold(tx, self._owner, row.id, self._life)
                    )
                )
            answer, messages = await work
        finally:
            work.cancel()
        await self._until(
            lambda: self._database.run(lambda tx: self._end(tx, row, answer, messages))
        )

    async def _ask(self, row: Due) -> tuple[Done | Again, Sequence[Message]]:
        """What the row's handler says; whatever it raises, the row is left alone for a while."""
        try:
            answer = await self._handlers[row.kind](row)
            return answer, await self._messages(row.head, answer)
        except Unavailable as down:
            log.warning("timer: %s has to wait: %s", row.kind, down)
        except Exception as bug:  # noqa: BLE001 - belongs to its row; the others must be done
            # The type alone: a message may quote what a user wrote.
            log.error("timer: %s raised by %s %s", type(bug).__name__, row.kind, row.id)
        return Again(self._database.now() + pause(row.tries)), ()

    async def _end(
        self, tx: Transaction, row: Due, answer: Done | Again, messages: Sequence[Message]
    ) -> None:
        if not await dues.hold(tx, self._owner, row.id, self._life):
            return  # taken for dead: another does it, or did
        if isinstance(answer, Again):
            tries = row.tries if answer.payload is None else 0
            await dues.postpone(tx, row.id, answer.at, payload=answer.payload, tries=tries)
            return
        if answer.claim is None or await claim(tx, answer.claim, row.kind):
            await enqueue(tx, messages)
        if (every := self._regularly.get(row.kind)) is not None:
            await dues.postpone(tx, row.id, tx.now + every, payload=None, tries=0)
        else:
            await dues.finish(tx, row.id)

    async def _messages(self, head: Head | None, answer: Done | Again) -> Sequence[Message]:
        """The events of `answer`, as children of `head` like those of any stage."""
        if isinstance(answer, Again) or not answer.events:
            return ()
        if head is None:
            raise AssertionError("a row without a head has no events")
        messages, numbered = [], Counter[str]()
        for event in answer.events:
            topic = topic_of(event)
            child = head.child(topic, numbered[topic], event.TYPE)
            numbered[topic] += 1
            sealed = bool(sealed_fields(type(event)))
            key = await self._keys.key(head.person) if sealed else None
            messages.append(encode(event, child, key))
        return messages
