"""Counting in one process: what is on the log once, whatever dies, and what jobs came to."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from analytics import follower
from analytics.definitions import TOPICS
from analytics.follower import Follower
from analytics.rows import Size, total
from analytics.shelf import FILE, Shelf, open_shelf
from infra.topics import apply
from relay.errors import Misconfigured
from relay.log.open import open_log
from relay.log.port import Log
from relay.log.sqlite import SqliteLog
from relay.settings import Settings
from relay.telemetry import Health
from tests.analytics.events import append, messages, recount
from tests.audit.relay import TEXTS, Lived


def counting(log: Log, shelf: Shelf) -> Follower:
    return Follower(log, TOPICS, shelf, shelf.take, Health())


@asynccontextmanager
async def log_of(data: Path) -> AsyncIterator[SqliteLog]:
    log = SqliteLog(data / "log.db")
    await apply(log, Settings(data=data))
    try:
        yield log
    finally:
        await log.close()


async def come(shelf: Shelf, records: int) -> None:
    """Return once so many records are counted, on a log whose offsets have no holes."""
    await until(lambda: sum(shelf.positions().values()) >= records)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(120):
        while True:
            if true():
                return
            await asyncio.sleep(0.05)


async def test_processes_killed_while_they_count_count_everything_once(tmp_path: Path) -> None:
    draw = random.Random(5)
    async with log_of(tmp_path) as log:
        with open_shelf(tmp_path / FILE) as shelf:
            for kill in range(3):
                words = ["-m", "tests.analytics.counting_process", str(tmp_path)]
                process = await asyncio.create_subprocess_exec(sys.executable, *words)
                try:
                    goal = kill * 600 + draw.randrange(1, 500)
                    await append(log, messages(600, seed=kill))
                    await come(shelf, goal)
                finally:
                    process.kill()
                    await process.wait()
            counter = counting(log, shelf)
            running = asyncio.create_task(counter.run())
            await come(shelf, 1800)
            counter.stop()
            await running
            assert shelf.all() == await recount(log)
            days = total(shelf.rows(Size.DAY))
        assert sum(days["events", topic] for topic in TOPICS) == 1800


async def test_figures_are_what_became_of_the_jobs(house: Lived, tmp_path: Path) -> None:
    log = open_log(house.settings)
    with contextlib.ExitStack() as stack:
        shelf = stack.enter_context(open_shelf(tmp_path / FILE))
        whole = await recount(log)
        days = total(row for where, row in whole.items() if where.size is Size.DAY)
        counter = counting(log, shelf)
        running = asyncio.create_task(counter.run())
        await until(lambda: total(shelf.rows(Size.DAY)) == days)
        counter.stop()
        await running
        assert shelf.all() == whole
        assert counter.lag == 0
    await log.close()
    assert days["jobs", "accepted"] == len(TEXTS)
    assert days["jobs", "held"] == 3
    assert days["rules", "weapons", "rejected"] == 1
    assert days["rules", "fraud", "held"] == 3
    assert (days["reviews", "approved"], days["reviews", "rejected"]) == (1, 1)
    assert (days["speech", "made"], days["speech", "cached"]) == (3, 1)
    assert days["voices", "tone tone 1"] == 4
    assert days["failures", "synth", "output_too_long"] == 1


async def test_figures_of_another_log_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with log_of(tmp_path / "one") as log, log_of(tmp_path / "other") as other:
        await append(log, messages(50))
        monkeypatch.setattr(follower, "_LOOK", 0.1)
        with open_shelf(tmp_path / FILE) as shelf:
            counter = counting(log, shelf)
            running = asyncio.create_task(counter.run())
            await come(shelf, 50)
            counter.stop()
            await running
            with pytest.raises(Misconfigured, match="another log"):
                await counting(other, shelf).run()


def test_what_is_no_file_of_figures_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("something else altogether" * 100)
    with pytest.raises(Misconfigured, match="cannot hold figures"), open_shelf(tmp_path / FILE):
        pass
