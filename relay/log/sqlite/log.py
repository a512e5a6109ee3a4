"""`SqliteLog`: the `Log` port over one file, put together from writer, reader and groups.

Knows which consumers and followers of this process wait, and wakes them: by the writer's word for
what was appended here, by a datagram for what other processes appended.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import sqlite3
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from relay.datagrams import Datagrams
from relay.errors import Misconfigured, Unavailable
from relay.log.port import Member, Message, Place, Record, refuse_long
from relay.log.sqlite import setup, trim
from relay.log.sqlite.appends import Placed, SourceFence
from relay.log.sqlite.consumer import LOOK_AGAIN, SqliteConsumer
from relay.log.sqlite.groups import Membership
from relay.log.sqlite.reader import Fetch, Reader, number_of
from relay.log.sqlite.schema import prepare
from relay.log.sqlite.writer import Writer

_CHECK_SECONDS = 5.0
_PAGE = 512
_MEMBERS = b"members"


class SqliteSource:
    """A feeder of the log, fenced by its epoch."""

    def __init__(self, log: SqliteLog, name: str, epoch: int, position: int) -> None:
        self._log = log
        self._name = name
        self._epoch = epoch
        self._position = position

    @property
    def position(self) -> int:
        return self._position

    async def append(self, messages: Sequence[Message], position: int) -> None:
        placed = await self._log.place(messages)
        await self._log.writer.append(SourceFence(self._name, self._epoch, position), placed)
        self._position = position


class SqliteLog:
    """A log in the file `path`, for any number of processes of one machine.

    `session` is how many seconds a member lives without polling: with the beat it may miss (a fifth
    of it) also how long work rests after a death. Nothing is opened before the
    first call, and everything belongs to the loop of that call.
    """

    def __init__(self, path: Path, session: float = 6.0) -> None:
        self._path = path
        self._session = session
        self._opening = asyncio.Lock()
        self._reader: Reader | None = None
        self._writer: Writer | None = None
        self._closed = False
        self._bell = Datagrams(path.with_name(f"{path.name}-bell"))
        self._partitions: dict[str, list[int]] = {}
        self._consumers: set[SqliteConsumer] = set()
        self._followers: set[asyncio.Event] = set()

    @property
    def reader(self) -> Reader:
        assert self._reader is not None
        return self._reader

    @property
    def writer(self) -> Writer:
        assert self._writer is not None
        return self._writer

    async def join(self, group: str, topics: Sequence[str], member: Member) -> SqliteConsumer:
        await self._ready()
        await self.reader.lag(group, topics)  # refuses where topics or offsets are missing
        id_ = f"{group}-{secrets.token_hex(8)}"
        membership = Membership(id_, group, tuple(sorted(set(topics))), self._session)
        consumer = SqliteConsumer(self, membership, member)
        self._consumers.add(consumer)
        return consumer

    @contextlib.asynccontextmanager
    async def source(self, name: str) -> AsyncIterator[SqliteSource]:
        await self._ready()
        epoch, position = await self.writer.call(lambda db: _hold_source(db, name))
        yield SqliteSource(self, name, epoch, position)

    async def read(
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
        await self._ready()
        more = asyncio.Event()
        self._followers.add(more)
        try:
            ids = await self.reader.partitions(topics)
            done = {ids[topic][number]: at for (topic, number), at in (start or {}).items()}
            while True:
                more.clear()
                for place, end in await self.reader.span(topics, since, until, key, done):
                    if numbers is not None and place.number not in numbers:
                        continue
                    async for record in self._pages(place, end):
                        if key is None or record.key == key:
                            yield record
                    done[place.partition] = max(place.offset, end)
                if not follow:
                    return
                await wait_for(more, LOOK_AGAIN)
        finally:
            self._followers.discard(more)

    async def starts(self, topics: Sequence[str]) -> Mapping[Place, int]:
        await self._ready()
        return await self.reader.starts(topics)

    async def ends(
        self, topics: Sequence[str], until: datetime | None = None
    ) -> Mapping[Place, int]:
        await self._ready()
        spans = await self.reader.span(topics, None, until, None, {})
        return {(place.topic, place.number): end for place, end in spans}

    def partition_of(self, key: str, partitions: int) -> int:
        return number_of(key, partitions)

    async def lag(self, group: str, topics: Sequence[str]) -> int:
        await self._ready()
        return await self.reader.lag(group, topics)

    async def apply(
        self,
        partitions: Mapping[str, int],
        groups: Mapping[str, Sequence[str]],
        sources: Sequence[str],
    ) -> None:
        await self._ready()
        await self.writer.call(lambda db: setup.apply(db, partitions, groups, sources))
        self._partitions.clear()
        self.ring_members()

    async def trim(self, kept: Mapping[str, timedelta]) -> int:
        await self._ready()
        dropped = 0
        for topic, age in kept.items():
            before = datetime.now(UTC) - age
            while count := await self.writer.call(partial(trim.some, topic, before)):
                dropped += count
        return dropped

    async def check(self) -> None:
        await self._ready()
        try:
            async with asyncio.timeout(_CHECK_SECONDS):
                await self.writer.call(lambda db: None)
        except TimeoutError:
            raise Unavailable("the log does not answer") from None

    async def close(self) -> None:
        for consumer in list(self._consumers):
            await consumer.close()
        self._closed = True
        if self._writer and self._reader:
            await self._writer.close()
            await self._reader.close()
        self._bell.close()

    async def place(self, messages: Sequence[Message]) -> list[Placed]:
        refuse_long(messages)
        missing = {message.topic for message in messages} - self._partitions.keys()
        if missing:
            self._partitions |= await self.reader.partitions(sorted(missing))
        return [(self._partition(message), message) for message in messages]

    def ring_members(self) -> None:
        self._bell.send(_MEMBERS)
        self._members_changed()

    def forget(self, consumer: SqliteConsumer) -> None:
        self._consumers.discard(consumer)

    def _partition(self, message: Message) -> int:
        ids = self._partitions[message.topic]
        return ids[number_of(message.key, len(ids))]

    async def _pages(self, place: Fetch, end: int) -> AsyncIterator[Record]:
        """Records from `place` on, before the offset `end`."""
        while place.offset < end:
            (page,) = await self.reader.fetch([place], _PAGE)
            if not page:
                return
            for record in page:
                if record.offset < end:
                    yield record
            place = replace(place, offset=page[-1].offset + 1)

    async def _ready(self) -> None:
        if self._closed:
            raise Unavailable("the log is closed")
        async with self._opening:
            if self._writer is None:
                line = await asyncio.to_thread(prepare, self._path)
                self._reader = Reader(self._path)
                self._writer = Writer(line, self._ring_grown, self._grown)
                self._bell.listen(self._heard)

    def _ring_grown(self, partitions: frozenset[int]) -> None:
        self._bell.send(b",".join(b"%d" % id_ for id_ in partitions))

    def _heard(self, word: bytes) -> None:
        if word == _MEMBERS:
            self._members_changed()
        elif word.replace(b",", b"").isdigit():  # anything on this machine may knock
            self._grown(frozenset(map(int, word.split(b","))))

    def _grown(self, partitions: Collection[int]) -> None:
        for consumer in self._consumers:
            consumer.grown(partitions)
        for follower in self._followers:
            follower.set()

    def _members_changed(self) -> None:
        self._partitions.clear()  # partitions may have been added
        for consumer in self._consumers:
            consumer.rebalance()


def _hold_source(line: sqlite3.Connection, name: str) -> tuple[int, int]:
    """Fence whoever fed as `name` before; the new epoch, and the position that was committed."""
    row = line.execute("select epoch, position from sources where name = ?", [name]).fetchone()
    if row is None:
        raise Misconfigured(f"source {name} has no position: run `voxrelay topics apply`")
    epoch, position = row
    line.execute("update sources set epoch = ? where name = ?", [epoch + 1, name])
    return epoch + 1, position


async def wait_for(event: asyncio.Event, seconds: float) -> None:
    """Wait for `event`, `seconds` at most."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(max(0.0, seconds)):
            await event.wait()
