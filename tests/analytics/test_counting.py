"""Counting in one process: what is on the log once, whatever dies, and what jobs came to."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sys
from asyncio.subprocess import Process
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from analytics import follower
from analytics.definitions import TOPICS
from analytics.follower import Follower
from analytics.rows import Size, total
from analytics.shelf.file import FILE, open_file
from analytics.shelf.port import Shelf
from analytics.sketch import bucket
from infra.servers import kafka
from infra.topics import apply
from relay.answer import code_version
from relay.errors import Misconfigured, Unavailable
from relay.log.open import open_log
from relay.log.port import Log, Place
from relay.log.sqlite import SqliteLog
from relay.retry import until_available
from relay.settings import Settings
from relay.telemetry import Health
from tests.analytics.events import append, messages, recount
from tests.audit.relay import TEXTS, Lived
from tests.sql import until

PATIENT = 150.0


def counting(log: Log, shelf: Shelf) -> Follower:
    return Follower(log, shelf, Health())


@asynccontextmanager
async def log_of(data: Path) -> AsyncIterator[SqliteLog]:
    log = SqliteLog(data / "log.db")
    await apply(log, Settings(data=data))
    try:
        yield log
    finally:
        await log.close()


async def seen(shelf: Shelf) -> int:
    """How many records are counted."""
    days = total(await shelf.rows(Size.DAY))
    return sum(days["events", topic] for topic in TOPICS)


async def sees(shelf: Shelf, count: int) -> None:
    """Return once so many are counted."""

    async def enough() -> bool:
        return await seen(shelf) >= count

    await until(enough, PATIENT)


@asynccontextmanager
async def process(settings: Settings) -> AsyncIterator[Process]:
    """A process that counts, killed at the end."""
    given = {"LOG": settings.log, "SQL": settings.sql, "DATA": str(settings.data)}
    env = {**os.environ, **{f"VOXRELAY_{name}": value for name, value in given.items()}}
    words = [sys.executable, "-m", "tests.analytics.counting_process"]
    running = await asyncio.create_subprocess_exec(*words, env=env)
    try:
        yield running
        assert running.returncode is None, "it was to be killed, and ended by itself"
    finally:
        with contextlib.suppress(ProcessLookupError):
            running.kill()
        await running.wait()


async def counts_all(log: Log, shelf: Shelf) -> None:
    """Count what is left, and compare with a recount."""
    whole = await recount(log)
    counter = counting(log, shelf)
    running = asyncio.create_task(counter.run())

    async def same() -> bool:
        return await shelf.all() == whole

    await until(same, PATIENT)
    counter.stop()
    await running


async def test_processes_killed_while_they_count_count_everything_once(tmp_path: Path) -> None:
    draw = random.Random(5)
    async with log_of(tmp_path) as log:
        with open_file(tmp_path / FILE) as shelf:
            for kill in range(3):
                await append(log, messages(600, seed=kill))
                async with process(Settings(data=tmp_path)):
                    goal = kill * 500 + draw.randrange(1, 400)
                    await sees(shelf, goal)
            await counts_all(log, shelf)
            assert await seen(shelf) == 1800


@pytest.mark.timeout(600)
async def test_on_kafka_a_death_of_the_process_and_one_of_the_broker_change_no_figure(
    tmp_path: Path,
) -> None:
    with kafka(tmp_path / "kafka") as server, open_file(tmp_path / FILE) as shelf:
        settings = Settings(data=tmp_path, log=f"kafka://{server.bootstrap}", partitions=2)
        log = open_log(settings)
        await apply(log, settings)
        await append(log, messages(300))
        async with process(settings):
            await sees(shelf, 50)
        await append(log, messages(300, seed=2))
        async with process(settings):
            await sees(shelf, 350)
            server.kill()
            server.start()  # from this thread: a server ends with the one that started it
            await until_available(lambda: append(log, messages(300, seed=3)), "log", Health())
            await sees(shelf, 700)
        await counts_all(log, shelf)
        assert await seen(shelf) >= 900
        await log.close()


async def test_figures_are_what_became_of_the_jobs(house: Lived, tmp_path: Path) -> None:
    log = open_log(house.settings)
    with contextlib.ExitStack() as stack:
        shelf = stack.enter_context(open_file(tmp_path / FILE))
        whole = await recount(log)
        days = total(row for where, row in whole.items() if where.size is Size.DAY)
        counter = counting(log, shelf)
        running = asyncio.create_task(counter.run())

        async def counted() -> bool:
            return total(await shelf.rows(Size.DAY)) == days

        await until(counted, PATIENT)
        counter.stop()
        await running
        assert await shelf.all() == whole
        assert counter.lag == 0
    assert {path[1:]: n for path, n in days.items() if path[0] == "took"} == await took(log)
    await log.close()
    assert days["jobs", "accepted"] == len(TEXTS)
    assert days["jobs", "held"] == 3
    assert days["rules", "weapons", "rejected"] == 1
    assert days["rules", "fraud", "held"] == 3
    assert (days["reviews", "approved"], days["reviews", "rejected"]) == (1, 1)
    assert (days["speech", "made"], days["speech", "cached"]) == (3, 1)
    assert days["voices", "tone tone 1"] == 4
    for end, jobs in {"delivered": 4, "rejected": 3}.items():
        assert sum(n for path, n in days.items() if path[::2] == ("styles", end)) == jobs
    assert days["versions", code_version(), "delivered"] == 4
    assert days["failures", "synth", "output_too_long"] == 1


async def took(log: Log) -> Counter[tuple[str, ...]]:
    """How long each stage took, as both records of each of its answers say."""
    at = {(r.key, r.topic): r.appended async for r in log.read(TOPICS)}
    found: Counter[tuple[str, ...]] = Counter()
    for (job, topic), appended in at.items():
        stage, asked = _STAGES.get(topic, ("", ""))
        reviewed = topic != "prompt-held" and stage == "moderation" and (job, "prompt-held") in at
        if stage and not reviewed:
            seconds = (appended - at[job, asked]).total_seconds()
            found[stage, str(bucket(seconds))] += 1
    return found


_STAGES = {
    "prompt-rejected": ("moderation", "prompt-uploaded"),
    "prompt-held": ("moderation", "prompt-uploaded"),
    "prompt-approved": ("moderation", "prompt-uploaded"),
    "speech-synthesized": ("synth", "prompt-approved"),
    "speech-delivered": ("delivery", "speech-synthesized"),
}


class Away:
    """A log that does not answer until it is back."""

    def __init__(self, log: Log) -> None:
        self.back = False
        self.read, self._ends = log.read, log.ends

    async def ends(self, topics: Sequence[str]) -> Mapping[Place, int]:
        if not self.back:
            raise Unavailable("away")
        return await self._ends(topics)


async def test_an_operator_sees_that_the_log_is_away_and_that_it_is_back(tmp_path: Path) -> None:
    async with log_of(tmp_path) as log:
        away, health = Away(log), Health()
        with open_file(tmp_path / FILE) as shelf:
            counter = Follower(away, shelf, health)  # type: ignore[arg-type]
            running = asyncio.create_task(counter.run())
            await until(lambda: not health.ready, PATIENT)
            away.back = True
            await until(lambda: health.ready, PATIENT)
            await append(log, messages(50))
            await sees(shelf, 50)
            assert health.ready
            counter.stop()
            await running


async def test_figures_of_another_log_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with log_of(tmp_path / "one") as log, log_of(tmp_path / "other") as other:
        await append(log, messages(50))
        monkeypatch.setattr(follower, "_LOOK", 0.1)
        with open_file(tmp_path / FILE) as shelf:
            counter = counting(log, shelf)
            running = asyncio.create_task(counter.run())
            await sees(shelf, 50)
            counter.stop()
            await running
            with pytest.raises(Misconfigured, match="another log"):
                await counting(other, shelf).run()


def test_what_is_no_file_of_figures_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("something else altogether" * 100)
    with pytest.raises(Misconfigured, match="cannot hold figures"), open_file(tmp_path / FILE):
        pass
