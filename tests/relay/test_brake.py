"""A stage whose every record is bad stops, stays stopped through lives, and goes on when told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from relay.brake import Brake, pulled, release
from relay.letters import DeadLetterLimit
from relay.log.port import Log, Message
from relay.log.sqlite import SqliteLog
from relay.runner import Limits, Runner, StageBroken
from relay.sql.database import Database
from tests.relay.stages import Approving, Keys, uploaded
from tests.sql import until

RUN, IN_FLIGHT = 10, 4


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[Log]:
    opened = SqliteLog(tmp_path / "log.db")
    topics = ("prompt-uploaded", "prompt-uploaded-dead", "prompt-approved")
    await opened.apply(dict.fromkeys(topics, 2), {"approving": ["prompt-uploaded"]}, ["feed"])
    yield opened
    await opened.close()


def life(log: Log, sql: Database, *, run: int = RUN, ratio: float = 0.5, of: int = 200) -> Runner:
    limits, limit = Limits(IN_FLIGHT, poll=0.1), DeadLetterLimit(run, ratio, of)
    brake = Brake(sql, "approving")
    return Runner(Approving(), log, Keys(), limits, dead_letters=limit, brake=brake)


async def feed(log: Log, messages: Sequence[Message]) -> None:
    async with log.source("feed") as source:
        await source.append(messages, source.position + len(messages))


def bad(n: int) -> Message:
    return Message("prompt-uploaded", f"bad {n}", b"", ())


async def letters(log: Log) -> int:
    return len([record async for record in log.read(["prompt-uploaded-dead"])])


async def broken(runner: Runner) -> None:
    with pytest.raises(StageBroken, match="dead letter"):
        await asyncio.wait_for(runner.run(), 30)


async def test_a_stage_that_buries_everything_stays_stopped_until_a_person_says_so(
    log: Log, sql: Database
) -> None:
    await feed(log, [bad(n) for n in range(60)])
    await broken(life(log, sql))
    buried = await letters(log)
    assert RUN <= buried < RUN + IN_FLIGHT

    again = life(log, sql)
    running = asyncio.create_task(again.run())
    await until(
        lambda: "audit dead resume approving" in again.health.troubles.get("dead letters", "")
    )
    assert await letters(log) == buried
    async with sql.transaction() as tx:
        assert [halt.group for halt in await pulled(tx)] == ["approving"]
        assert await release(tx, "approving")
        assert not await release(tx, "approving")
    with pytest.raises(StageBroken, match="dead letter"):  # it went on, and nothing was mended
        await asyncio.wait_for(running, 30)
    assert buried < await letters(log) < 2 * (RUN + IN_FLIGHT)


async def test_more_bad_ones_than_the_ratio_stop_a_stage_that_answers_some(
    log: Log, sql: Database
) -> None:
    mixed = [bad(n) if n % 4 else uploaded(n) for n in range(60)]
    await feed(log, mixed)
    await broken(life(log, sql, run=50, ratio=0.6, of=20))


async def test_some_bad_ones_stop_nobody(log: Log, sql: Database) -> None:
    await feed(log, [uploaded(n) if n % 4 else bad(n) for n in range(60)])
    one = life(log, sql, run=50, ratio=0.6, of=20)
    running = asyncio.create_task(one.run())

    async def answered() -> bool:
        return await letters(log) == 15 and await log.lag("approving", ["prompt-uploaded"]) == 0

    await until(answered, 30)
    one.stop()
    await asyncio.wait_for(running, 30)


def test_a_limit_may_be_none() -> None:
    limit = DeadLetterLimit(run=0, ratio=1)
    for _ in range(500):
        limit.saw(bad=True)
    assert not limit.reached
