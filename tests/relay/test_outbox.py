"""What was accepted reaches the log: once each, in the order of the commits."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import pytest
from sqlalchemy import func, select, update

from relay import telemetry
from relay.errors import Misconfigured, OutcomeUnknown, Unavailable
from relay.log.port import Message, Source
from relay.log.sqlite import SqliteLog
from relay.outbox import SHARDS, SOURCES, Outbox, enqueue, shard_of
from relay.sql import schema, shards
from relay.sql.database import Database, Transaction
from relay.sql.open import open_database
from relay.telemetry import Health
from tests.sql import until

T = TypeVar("T")
TOPIC = "prompt-uploaded"
LIFE = timedelta(seconds=1.5)


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[SqliteLog]:
    made = SqliteLog(tmp_path / "log.db")
    await made.apply({TOPIC: 4}, {}, SOURCES)
    yield made
    await made.close()


def message(key: str, n: int) -> Message:
    return Message(TOPIC, key, str(n).encode(), (("ce_id", b"\x00\xff"),))


async def put(sql: Database, *messages: Message) -> None:
    async with sql.transaction() as tx:
        await enqueue(tx, messages)


async def left(sql: Database) -> int:
    async with sql.reading() as tx:
        query = select(func.count()).select_from(schema.outbox)
        return int((await tx.execute(query)).scalar_one())


@asynccontextmanager
async def publishing(*outboxes: Outbox) -> AsyncIterator[None]:
    """The outboxes at work; whatever one raises is raised here."""
    async with asyncio.TaskGroup() as group:
        for outbox in outboxes:
            group.create_task(outbox.run())
        try:
            yield
        finally:
            for outbox in outboxes:
                outbox.stop()


async def published(log: SqliteLog, expected: int) -> list[tuple[str, int]]:
    """The first `expected` records, per key in order; waits for them, and not for ever."""
    found: list[tuple[str, int]] = []
    async with asyncio.timeout(20):
        async for record in log.read([TOPIC], follow=True):
            found.append((record.key, int(record.value)))
            if len(found) == expected:
                break
    return found


async def emptied(sql: Database) -> None:
    async def empty() -> bool:
        return await left(sql) == 0

    await until(empty)


def in_order(found: Sequence[tuple[str, int]]) -> dict[str, list[int]]:
    by_key: dict[str, list[int]] = {}
    for key, n in found:
        by_key.setdefault(key, []).append(n)
    return by_key


async def test_what_is_committed_is_published_and_forgotten(sql: Database, log: SqliteLog) -> None:
    sent = [message("a", 1), message("b", 1), message("a", 2)]
    async with publishing(Outbox(sql, log)):
        await put(sql, *sent)
        assert in_order(await published(log, 3)) == {"a": [1, 2], "b": [1]}
        await emptied(sql)
    records = [record async for record in log.read([TOPIC])]
    assert {record.headers for record in records} == {sent[0].headers}


async def test_what_is_rolled_back_is_never_published(sql: Database, log: SqliteLog) -> None:
    async def accept_and_fail() -> None:
        async with sql.transaction() as tx:
            await enqueue(tx, [message("a", 1)])
            raise KeyError

    async with publishing(Outbox(sql, log)):
        with pytest.raises(KeyError):
            await accept_and_fail()
        await put(sql, message("a", 2))
        assert await published(log, 1) == [("a", 2)]


async def test_what_another_process_puts_aside_is_found(
    sql: Database, sql_settings: object, log: SqliteLog
) -> None:
    other = await open_database(sql_settings)  # type: ignore[arg-type]
    async with publishing(Outbox(sql, log)):
        await put(other, message("a", 1))
        assert await published(log, 1) == [("a", 1)]
    await other.close()


@pytest.mark.parametrize(
    "sql_settings", ["postgresql"], indirect=True
)  # one writer at a time: both orders are one
async def test_rows_are_numbered_by_commit_and_not_by_insert(sql: Database) -> None:
    await sql.run(lambda tx: shards.prepare(tx, [0]))
    [lease] = await sql.run(lambda tx: shards.take(tx, "me", LIFE, 1))

    async def advance(published: int) -> list[tuple[int, str]]:
        async with sql.transaction() as tx:
            batch = await shards.advance(tx, lease, await shards.counter(tx, lease), published, 10)
        return [(batch.position, m.key) for m in batch.messages] if batch else []

    async with sql.transaction() as slow:
        await shards.put(slow, 0, message("slow", 1))  # draws the lower row number
        async with sql.transaction() as quick:
            await shards.put(quick, 0, message("quick", 1))
        assert await advance(0) == [(1, "quick")]
    assert await advance(1) == [(2, "slow")]
    assert await advance(2) == []


async def test_numbers_go_on_where_an_emptied_outbox_ended(sql: Database, log: SqliteLog) -> None:
    for n in (1, 2):
        async with publishing(Outbox(sql, log)):
            await put(sql, message("a", n))
            await emptied(sql)
    assert in_order(await published(log, 2)) == {"a": [1, 2]}
    async with sql.reading() as tx:
        query = select(schema.outbox_shards.c.counter).where(
            schema.outbox_shards.c.shard == shard_of("a")
        )
        assert (await tx.execute(query)).scalar_one() == 2
    async with log.source(SOURCES[shard_of("a")]) as source:
        assert source.position == 2


async def test_two_gateways_share_the_shards(
    sql: Database, sql_settings: object, log: SqliteLog
) -> None:
    other = await open_database(sql_settings)  # type: ignore[arg-type]

    async def shared() -> bool:
        async with sql.reading() as tx:
            query = (
                select(func.count())
                .where(schema.outbox_shards.c.owner.is_not(None))
                .group_by(schema.outbox_shards.c.owner)
            )
            held = list((await tx.execute(query)).scalars())
        return held == [SHARDS // 2] * 2

    first, second = Outbox(sql, log, life=LIFE), Outbox(other, log, life=LIFE)
    async with publishing(first), publishing(second):
        await until(shared)
        for n in range(20):
            await put(sql if n % 2 else other, *(message(f"k{k}", n) for k in range(10)))
        found = in_order(await published(log, 200))
    assert found == {f"k{k}": list(range(20)) for k in range(10)}
    await other.close()


async def test_the_shards_of_a_dead_gateway_are_taken_over(sql: Database, log: SqliteLog) -> None:
    await sql.run(lambda tx: shards.prepare(tx, range(SHARDS)))
    await sql.run(lambda tx: shards.take(tx, "dead", LIFE, SHARDS))
    await put(sql, message("a", 1))
    async with publishing(Outbox(sql, log, life=LIFE)):
        assert await published(log, 1) == [("a", 1)]


async def test_a_lease_whose_commit_had_no_answer_is_held_by_nobody(
    sql: Database, log: SqliteLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database took the leases, and the connection broke before it could say so."""
    run, lost = sql.run, asyncio.Event()

    async def breaks(work: Callable[[Transaction], Awaitable[T]]) -> T:
        answer = await run(work)
        if not lost.is_set() and isinstance(answer, list) and answer:
            lost.set()
            raise Unavailable("the connection broke")
        return answer

    monkeypatch.setattr(sql, "run", breaks)
    async with publishing(Outbox(sql, log, life=LIFE)):
        await lost.wait()
        await put(sql, *(message(f"k{n}", n) for n in range(8)))
        assert len(await published(log, 8)) == 8


async def test_a_gateway_that_stops_gives_its_shards_back_at_once(
    sql: Database, log: SqliteLog
) -> None:
    async with publishing(Outbox(sql, log)):
        await put(sql, message("a", 1))
        await published(log, 1)
    taken = await sql.run(lambda tx: shards.take(tx, "next", LIFE, SHARDS))
    assert len(taken) == SHARDS


async def test_a_holder_that_was_taken_for_dead_publishes_nothing_more(
    sql: Database, log: SqliteLog
) -> None:
    life = timedelta(seconds=8)
    paused = Outbox(sql, log, life=life)
    async with publishing(paused):
        await put(sql, message("a", 1))
        await published(log, 1)
        await emptied(sql)
        async with sql.transaction() as tx:  # somebody found the leases expired
            await tx.execute(
                update(schema.outbox_shards).values(
                    owner="other", epoch=99, expires_at=tx.now + 2 * life
                )
            )
        await put(sql, message("a", 2))
        await until(lambda: not paused._feeds)
    assert await left(sql) == 1
    assert len([record async for record in log.read([TOPIC])]) == 1


async def test_a_log_that_has_lost_our_position_is_refused(
    sql: Database, log: SqliteLog, tmp_path: Path
) -> None:
    async with publishing(Outbox(sql, log)):
        await put(sql, message("a", 1))
        await emptied(sql)
    await put(sql, message("a", 2))
    other = SqliteLog(tmp_path / "other.db")
    await other.apply({TOPIC: 4}, {}, SOURCES)
    with pytest.raises(Misconfigured, match="lost our position"):
        async with asyncio.timeout(10):
            await Outbox(sql, other).run()
    assert not [record async for record in other.read([TOPIC])]
    await other.close()
    assert await left(sql) == 1


async def test_a_restored_database_refuses_to_start(sql: Database, log: SqliteLog) -> None:
    async with log.source(SOURCES[shard_of("a")]) as source:
        await source.append([message("a", n) for n in range(3)], 3)
    await put(sql, message("a", 9))
    with pytest.raises(Misconfigured, match="restored"):
        async with asyncio.timeout(10):
            await Outbox(sql, log).run()
    assert await left(sql) == 1


async def test_what_is_forgotten_had_been_published(sql: Database, log: SqliteLog) -> None:
    shard = shard_of("a")
    async with publishing(Outbox(sql, log)):
        await put(sql, *(message("a", n) for n in range(3)))
        await emptied(sql)
    async with sql.reading() as tx:
        assert (await shards.forgotten(tx))[shard] == 3
    await put(sql, *(message("a", n) for n in range(3)))
    async with sql.transaction() as tx:
        await shards._number(tx, shard, 3)
    async with sql.reading() as tx:
        assert (await shards.forgotten(tx))[shard] == 3, "numbered, and perhaps not published"


class Flaky:
    """A log whose sources fail in turn: when opened, before appending, and after it."""

    def __init__(self, log: SqliteLog, faults: list[str]) -> None:
        self._log, self.faults = log, faults

    @asynccontextmanager
    async def source(self, name: str) -> AsyncIterator["FlakySource"]:
        if self.faults and self.faults[0] == "closed":
            self.faults.pop(0)
            raise Unavailable("the broker does not answer")
        async with self._log.source(name) as source:
            yield FlakySource(source, self.faults)


class Dumb:
    """A log that answers nobody until it is told to speak."""

    def __init__(self, log: SqliteLog) -> None:
        self._log, self.speaks = log, asyncio.Event()

    @asynccontextmanager
    async def source(self, name: str) -> AsyncIterator[Source]:
        await self.speaks.wait()
        async with self._log.source(name) as source:
            yield source


class FlakySource:
    """A source that does not know its position after an append whose outcome it did not see."""

    def __init__(self, source: Source, faults: list[str]) -> None:
        self._source, self._faults, self.position = source, faults, source.position

    async def append(self, messages: Sequence[Message], position: int) -> None:
        fault = self._faults.pop(0) if self._faults else None
        if fault == "before":
            raise Unavailable("the broker does not answer")
        await self._source.append(messages, position)
        if fault == "after":
            raise OutcomeUnknown("the connection broke in mid-commit")
        self.position = position


async def test_nothing_is_lost_or_doubled_while_the_broker_comes_and_goes(
    sql: Database, log: SqliteLog
) -> None:
    health = Health()
    flaky = Flaky(log, ["closed", "before", "after", "after", "closed", "before", "after"])
    async with publishing(Outbox(sql, flaky, health)):  # type: ignore[arg-type]
        for n in range(5):
            await put(sql, message("a", n))
        assert in_order(await published(log, 5)) == {"a": list(range(5))}
        await emptied(sql)
    assert health.ready


async def test_readiness_says_that_the_broker_is_down(sql: Database, log: SqliteLog) -> None:
    health = Health()
    down = Flaky(log, ["closed"] * 10_000)
    async with publishing(Outbox(sql, down, health)):  # type: ignore[arg-type]
        await until(lambda: not health.ready)
        assert any("broker" in what for what in health.troubles.values())
        await put(sql, message("a", 1))
        down.faults.clear()
        await published(log, 1)
        await until(lambda: health.ready)


async def test_readiness_says_that_the_log_keeps_silent_before_its_client_gives_up(
    sql: Database, log: SqliteLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telemetry, "PATIENCE", 0.01)
    health, dumb = Health(), Dumb(log)
    async with publishing(Outbox(sql, dumb, health)):  # type: ignore[arg-type]
        await until(lambda: len(health.troubles) == SHARDS)
        dumb.speaks.set()
        await until(lambda: health.ready)
