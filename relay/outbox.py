"""The outbox: what was accepted in SQL reaches the log, once each, in the order of the commits.

Knows how messages are put aside in the accepting transaction, and how gateways share the work of
publishing them: each leases some shards and feeds the log from there (`relay.feed`). Refuses to
know what a message says.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import TypeVar
from zlib import crc32

from relay.errors import Unavailable
from relay.feed import Feed, signal_name
from relay.log.port import Log, Message
from relay.retry import until_available
from relay.sql import shards
from relay.sql.database import Database, Transaction
from relay.stopping import until_stopped
from relay.telemetry import Health

T = TypeVar("T")

SHARDS = 4
"""Shares of the outbox; gateways lease them. Fixed for ever: a key keeps its shard."""

NAME = "outbox"

LIFE = timedelta(seconds=6)
"""How long a shard waits for a holder that died."""

POLL = 0.25
"""Seconds between looks for what other processes have put aside."""

GRACE = 5.0
"""Seconds that an append under way has to end in when the process stops."""


def source_name(shard: int, name: str = NAME) -> str:
    """The log's source that feeds on `shard`."""
    return f"{name}-{shard}"


def source_names(name: str = NAME) -> tuple[str, ...]:
    """What `Log.apply` has to prepare for an outbox called `name`."""
    return tuple(source_name(shard, name) for shard in range(SHARDS))


SOURCES = source_names()


def shard_of(key: str) -> int:
    """The shard of messages with this key: equal keys keep their order."""
    return crc32(key.encode()) % SHARDS


async def enqueue(tx: Transaction, messages: Sequence[Message]) -> None:
    """Put `messages` aside in `tx`: they reach the log if, and only if, `tx` commits."""
    for message in messages:
        shard = shard_of(message.key)
        await shards.put(tx, shard, message)
        tx.wake(signal_name(shard))


class Outbox:
    """Publishes this process's part of the outbox until `stop`.

    While broker or database is down it keeps trying, and `health` says so.
    """

    def __init__(
        self,
        database: Database,
        log: Log,
        health: Health | None = None,
        *,
        name: str = NAME,
        life: timedelta = LIFE,
        poll: float = POLL,
    ) -> None:
        """`name` begins the names of its sources: another one for each database on one log."""
        self._database, self._log = database, log
        self.health = health or Health()
        self._name, self._life, self._poll = name, life, poll
        self._owner = secrets.token_hex(8)
        self._feeds: dict[asyncio.Task[None], Feed] = {}
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """End `run` after what is being appended; what waits stays in SQL for the next holder."""
        self._stopping.set()

    async def run(self) -> None:
        """Publish until `stop`. Raises `Misconfigured` where log and database do not fit."""
        try:
            await until_stopped(self._loop(), self._stopping)
        finally:
            await self._close()

    async def _loop(self) -> None:
        await self._until(lambda: self._database.run(_prepare))
        while not self._stopping.is_set():
            await self._until(self._share)
            await self._watch()

    async def _until(self, call: Callable[[], Awaitable[T]]) -> T:
        return await until_available(call, "outbox", self.health)

    async def _share(self) -> None:
        """Say that we live, and hold our part of the shards: no more and no less."""
        fed = [feed.shard for feed in self._feeds.values()]
        now = await self._database.run(lambda tx: shards.attend(tx, self._owner, self._life, fed))
        for feed in self._feeds.values():
            if feed.shard not in now.held:
                feed.stop()
        lacking = -(-SHARDS // now.living) - len(self._feeds)
        if lacking < 0:
            for feed in list(self._feeds.values())[lacking:]:
                feed.stop()
        elif lacking > 0:
            await self._take(lacking)

    async def _take(self, most: int) -> None:
        for lease in await self._database.run(
            lambda tx: shards.take(tx, self._owner, self._life, most)
        ):
            source = source_name(lease.shard, self._name)
            feed = Feed(lease, source, self._database, self._log, self.health)
            self._feeds[asyncio.create_task(feed.run())] = feed

    async def _watch(self) -> None:
        """For a third of a lease: wake feeds that have something to do, notice those that ended."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._life.total_seconds() / 3
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            while loop.time() < until and not stopping.done():
                await self._until(self._look)
                done, _ = await asyncio.wait(
                    {stopping, *self._feeds}, timeout=self._poll, return_when="FIRST_COMPLETED"
                )
                for ended in done - {stopping}:
                    del self._feeds[ended]  # type: ignore[arg-type]
                    ended.result()
        finally:
            stopping.cancel()

    async def _look(self) -> None:
        async with self._database.reading() as tx:
            for shard in await shards.waiting(tx):
                self._database.signal(signal_name(shard)).set()

    async def _close(self) -> None:
        for feed in self._feeds.values():
            feed.stop()
        if self._feeds:
            _, late = await asyncio.wait(self._feeds, timeout=GRACE)
            for task in late:
                task.cancel()
            await asyncio.gather(*self._feeds, return_exceptions=True)
        self._feeds.clear()
        try:
            await self._database.run(lambda tx: shards.leave(tx, self._owner))
        except Unavailable:
            return  # the leases run out by themselves


async def _prepare(tx: Transaction) -> None:
    await shards.prepare(tx, range(SHARDS))
