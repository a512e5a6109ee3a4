"""What may not be left lying about when all is quiet: objects, transactions, sockets, work.

Knows what each part of the relay could forget. Refuses to know jobs.

An object that no event names could only be that of a client who sent a recording and never asked
again: the sweep takes it after a day. Every other object is put under a key that follows from what
it is for, so whoever tries again adopts it. In these runs every client asks again: nothing is left.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from sqlalchemy import func, select, text

from infra.topics import groups
from relay.datagrams import Datagrams
from relay.doorbell import FOLDER
from relay.settings import Settings
from relay.spine import Spine
from relay.sql.schema import outbox
from relay.sweep import person_of
from schemas.topics import DEAD
from tests.infra.processes import alive

FORGIVEN_SECONDS = 40.0
"""After so long the broker itself has ended a transaction that nobody did."""

_IN_TRANSACTION = text(
    "select count(*) from pg_stat_activity where datname = current_database() "
    "and state like 'idle in transaction%' and now() - state_change > interval '5 seconds'"
)


async def find(spine: Spine, named: set[str]) -> AsyncIterator[str]:
    """All that is left, in words; `named` are the objects that events name."""
    dead = [record async for record in spine.log.read(list(DEAD))]
    if dead:
        yield f"{len(dead)} innocent records became dead letters"
    for group, topics in groups().items():
        if (lag := await spine.log.lag(group, topics)) > 0:
            yield f"group {group} has not answered {lag} records"
    async with spine.database.reading() as tx:
        if left := (await tx.execute(select(func.count()).select_from(outbox))).scalar_one():
            yield f"{left} messages were left in the outbox"
    if nameless := [key async for key in _nameless(spine, named)]:
        yield f"{len(nameless)} objects that no event names: {nameless[0].split('/')[0]}"
    if left := await _until_none(lambda: _transactions(spine)):
        yield f"{left} transactions were left open"
    if left := sockets(spine.settings):
        yield f"{left} sockets of dead processes were left"


async def _nameless(spine: Spine, named: set[str]) -> AsyncIterator[str]:
    async for stat in spine.store.list(""):
        if stat.key not in named and person_of(stat.key) is not None:
            yield stat.key


async def _transactions(spine: Spine) -> int:
    """How many are open now, in the log and in SQL."""
    if spine.settings.embedded:  # one that is open holds the lock that these take
        await spine.log.check()
        await spine.database.run(lambda tx: tx.execute(text("select 1")))
        return 0
    async with spine.database.reading() as tx:
        idle = int((await tx.execute(_IN_TRANSACTION)).scalar_one())
    return idle + await _held_back(spine.settings)


async def _held_back(settings: Settings) -> int:
    """Partitions with records beyond what is committed: the brokers' own included."""
    seen, all_ = _reader(settings, "read_committed"), _reader(settings, "read_uncommitted")
    async with seen, all_:
        known = await all_._client.fetch_all_metadata()
        topics = known.topics(exclude_internal_topics=False)
        places = [TopicPartition(t, n) for t in topics for n in known.partitions_for_topic(t)]
        committed, written = await seen.end_offsets(places), await all_.end_offsets(places)
        return sum(committed[place] != written[place] for place in places)


def _reader(settings: Settings, isolation: str) -> AIOKafkaConsumer:
    bootstrap = settings.log.removeprefix("kafka://")
    return AIOKafkaConsumer(bootstrap_servers=bootstrap, isolation_level=isolation)


async def _until_none(count: Callable[[], Coroutine[Any, Any, int]]) -> int:
    """How many there are; who has died in one is forgiven until somebody else ends it."""
    clock = asyncio.get_running_loop().time
    until = clock() + FORGIVEN_SECONDS
    while True:
        if not (found := await count()) or clock() > until:
            return found
        await asyncio.sleep(0.5)


def sockets(settings: Settings) -> int:
    """How many processes that are no more still have a datagram socket."""
    bells = (settings.data / "log.db-bell", settings.data / FOLDER)
    folders = [Datagrams(bell)._folder for bell in bells]
    files = [file for folder in folders if folder.is_dir() for file in folder.iterdir()]
    return sum(not alive(int(file.name.partition("-")[0])) for file in files)
