"""Work that outlasts every session: it loses no partition, and a rebalance repeats nothing seen."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from infra.servers import kafka
from relay.log.kafka import KafkaLog, Timing
from relay.log.port import Log
from relay.log.sqlite import SqliteLog
from relay.runner import Limits, Runner
from relay.settings import Settings
from schemas.events import PromptUploaded
from schemas.topics import DEAD, TOPICS
from tests.relay.stages import Approving, Keys, uploaded

SESSION = 2.0
LONG = 3 * SESSION
GROUP = Approving.name


@pytest.fixture(scope="module")
def broker(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Its topics are the relay's own, so it is shared with nobody."""
    request.getfixturevalue("kafka_server")  # skips where there can be none
    with kafka(tmp_path_factory.mktemp("kafka")) as server:
        yield server.bootstrap


Open = Callable[[], Log]


@pytest.fixture(params=["sqlite", "kafka"])
async def opened(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Open]:
    """Opens the log once more, as another process would."""
    async with AsyncExitStack() as stack:

        def once_more() -> Log:
            if request.param == "sqlite":
                log: Log = SqliteLog(tmp_path / "log.db", session=SESSION)
            else:
                timing = Timing(session=SESSION, heartbeat=SESSION / 4, metadata=1.0)
                address = f"kafka://{request.getfixturevalue('broker')}"
                log = KafkaLog(Settings(log=address), timing)
            stack.push_async_callback(log.close)
            return log

        yield once_more


async def fed(log: Log, slow: int, quick: int) -> Counter[str]:
    """So many jobs of each kind, in both partitions; their keys."""
    topics = [topic.name for topic in TOPICS] + list(DEAD)
    await log.apply(dict.fromkeys(topics, 2), {GROUP: ["prompt-uploaded"]}, ["feed"])
    async with log.source("feed") as source:
        first, count = source.position, slow + quick
        jobs = [uploaded(first + n, text="slow" if n < slow else "quick") for n in range(count)]
        await source.append(jobs, first + count)
    return Counter(job.key for job in jobs)


async def slowly(event: PromptUploaded) -> None:
    await asyncio.sleep(LONG if event.text == "slow" else 0)


@asynccontextmanager
async def member(log: Log) -> AsyncIterator[Approving]:
    """One more process of the group."""
    stage = Approving(slowly)
    runner = Runner(stage, log, Keys(), Limits(in_flight=32, waiting=64, poll=0.1, drain=0.1))
    running = asyncio.create_task(runner.run())
    try:
        yield stage
    finally:
        runner.stop()
        await running


async def answers(log: Log) -> Counter[str]:
    return Counter([record.key async for record in log.read(["prompt-approved"])])


async def test_long_work_keeps_its_partition_and_a_rebalance_repeats_nothing_seen(
    opened: Open,
) -> None:
    log = opened()
    jobs = await fed(log, slow=4, quick=20)
    async with member(log) as first:
        await answered(log, jobs, jobs.total())
        assert Counter(first.handled) == {"slow": 4, "quick": 20}, "a partition was lost"

        jobs += await fed(log, slow=4, quick=20)
        await answered(log, jobs, jobs.total() - 4)
        async with member(opened()) as second:  # which takes some of the slow ones away
            await answered(log, jobs, jobs.total())
        handled = Counter(first.handled + second.handled)
    assert await answers(log) == jobs
    assert await log.lag(GROUP, ["prompt-uploaded"]) == 0
    assert handled["slow"] > 8, "nothing was taken from anybody"
    assert handled["quick"] == 40


async def answered(log: Log, jobs: Counter[str], count: int) -> None:
    """Wait until so many of `jobs` are answered; each once."""
    found = Counter[str]()
    async with asyncio.timeout(90):
        async for record in log.read(["prompt-approved"], follow=True):
            found[record.key] += 1
            if found.total() == count:
                break
    assert found <= jobs
