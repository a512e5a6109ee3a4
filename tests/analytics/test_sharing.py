"""Counting in several processes: partitions are shared, and each record is counted once."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from pathlib import Path

import pytest
from sqlalchemy import text

from analytics import follower
from analytics.definitions import TOPICS
from analytics.shelf.open import open_shelf
from analytics.shelf.tables import open_tables
from infra.servers import kafka
from infra.topics import apply
from relay.log.open import open_log
from relay.retry import until_available
from relay.settings import Settings
from relay.sql.database import Database
from relay.sql.open import connect
from relay.telemetry import Health
from tests.analytics.events import append, messages, recount
from tests.analytics.test_counting import PATIENT, counting, log_of, process, seen, sees
from tests.sql import until


async def shared(database: Database, *parts: int) -> set[str]:
    """Who holds partitions, once each holds as many as given."""
    query = text("select owner, count(*) from figures_shares where expires_at > now() group by 1")
    found: dict[str, int] = {}

    async def as_given() -> bool:
        async with database.reading() as tx:
            found.clear()
            found.update((owner, count) for owner, count in await tx.execute(query) if owner)
        return sorted(found.values()) == sorted(parts)

    await until(as_given, PATIENT)
    return set(found)


@pytest.mark.timeout(600)
async def test_processes_that_share_the_partitions_count_everything_once_whatever_dies(
    tmp_path: Path, database: str
) -> None:
    with kafka(tmp_path / "kafka") as server:
        at = f"kafka://{server.bootstrap}"
        settings = Settings(data=tmp_path, log=at, sql=database, partitions=6)
        log, figures = open_log(settings), connect(settings)
        await apply(log, settings)
        async with open_shelf(settings, figures) as shelf, contextlib.AsyncExitStack() as stack:
            await append(log, messages(300))
            frozen = await stack.enter_async_context(process(settings))
            await stack.enter_async_context(process(settings))
            async with process(settings):  # killed while it counts
                three = await shared(figures, 2, 2, 2)
                await append(log, messages(300, seed=2))
                await sees(shelf, 310)
            assert await shared(figures, 3, 3) < three
            await append(log, messages(300, seed=3))
            await sees(shelf, 610)
            frozen.send_signal(signal.SIGSTOP)
            (left,) = await shared(figures, 6)
            await append(log, messages(300, seed=4))
            await stack.enter_async_context(process(settings))
            assert left in await shared(figures, 3, 3)
            frozen.send_signal(signal.SIGCONT)  # and counts on, as if nothing had been
            await shared(figures, 2, 2, 2)
            server.kill()
            server.start()
            await until_available(lambda: append(log, messages(300, seed=5)), "log", Health())
            whole = await recount(log)

            async def same() -> bool:
                return await shelf.all() == whole

            await until(same, PATIENT)
            assert await seen(shelf) >= 1500
            await shared(figures, 2, 2, 2)
        await figures.close()
        await log.close()


async def test_the_lag_is_that_of_all_partitions_whoever_counts_them(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower, "_LOOK", 0.1)
    async with log_of(tmp_path) as log:
        figures = connect(Settings(data=tmp_path, sql=database))
        other = await open_tables(figures)
        held = await other.share(4, {})
        await append(log, messages(50))
        counter = counting(log, await open_tables(figures))
        running = asyncio.create_task(counter.run())
        await until(lambda: counter.lag > 0, PATIENT)
        await other.take([record async for record in log.read(TOPICS)], held)
        await until(lambda: counter.lag == 0, PATIENT)
        assert await seen(other) == 50
        counter.stop()
        await running
        await figures.close()
