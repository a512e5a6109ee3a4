"""Who waits for a job hears that it changed, in this process and in others."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest
from sqlalchemy import text

from relay.doorbell import CHANNEL, FOLDER, Doorbell, open_doorbell
from relay.settings import Settings
from relay.sql.database import Database
from tests.sql import until

LONG = 10.0
"""Far more than a ring takes."""


@asynccontextmanager
async def two(settings: Settings, sql: Database) -> AsyncIterator[tuple[Doorbell, Doorbell]]:
    """Two doorbells as of two processes, both listening."""
    async with open_doorbell(settings, sql) as one, open_doorbell(settings, sql) as other:
        await _heard(one, other)
        await _heard(other, one)
        yield one, other


async def _heard(here: Doorbell, there: Doorbell) -> None:
    """Ring until it is heard: a line to the server takes a moment to come up."""
    job = uuid4()
    async with there.listen(job) as bell:

        async def rung() -> bool:
            here.ring(job)
            return await bell.wait(0.1)

        await until(rung)


async def test_a_ring_reaches_who_waits_in_every_process(
    sql_settings: Settings, sql: Database
) -> None:
    job = uuid4()
    async with (
        two(sql_settings, sql) as (here, there),
        here.listen(job) as near,
        there.listen(job) as far,
        there.listen(job) as too,
    ):
        here.ring(job)
        waits = [bell.wait(LONG) for bell in (near, far, too)]
        assert await asyncio.gather(*waits) == [True, True, True]


async def test_a_ring_for_another_job_wakes_nobody(sql_settings: Settings, sql: Database) -> None:
    job = uuid4()
    async with two(sql_settings, sql) as (here, there), there.listen(job) as bell:
        assert not await bell.wait(0.05)  # what the line's coming up rang
        here.ring(uuid4())
        await _heard(here, there)  # whatever was sent before this has arrived
        assert not await bell.wait(0)
        here.ring(job)
        assert await bell.wait(LONG)


async def test_what_rang_before_the_wait_began_is_not_lost(
    sql_settings: Settings, sql: Database
) -> None:
    job = uuid4()
    async with open_doorbell(sql_settings, sql) as doorbell, doorbell.listen(job) as bell:
        doorbell.ring(job)
        doorbell.ring(job)
        assert await bell.wait(0)
        assert not await bell.wait(0)


@pytest.mark.parametrize("sql_settings", ["postgresql"], indirect=True)  # datagrams have no line
async def test_a_line_that_breaks_is_laid_again_and_lets_everybody_look(
    sql_settings: Settings, sql: Database
) -> None:
    job = uuid4()
    kill = text(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
        "WHERE datname = current_database() AND query = :listen"
    )
    async with two(sql_settings, sql) as (here, there), there.listen(job) as bell:
        await bell.wait(0)
        async with sql.transaction() as tx:
            killed = await tx.execute(kill, {"listen": f"LISTEN {CHANNEL}"})
            assert killed.scalar_one() == 2
        assert await bell.wait(LONG)  # nobody rang: it may have been missed
        await _heard(here, there)


async def test_a_stranger_at_the_door_breaks_nothing(sql_settings: Settings, sql: Database) -> None:
    async with two(sql_settings, sql) as (here, there):
        if sql.dialect == "sqlite":
            from relay.datagrams import Datagrams

            stranger = Datagrams(sql_settings.data / FOLDER)
            stranger.listen(lambda word: None)
            stranger.send(b"nonsense")
            stranger.close()
        else:
            async with sql.transaction() as tx:
                await tx.execute(text(f"NOTIFY {CHANNEL}, 'nonsense'"))
        await _heard(here, there)
