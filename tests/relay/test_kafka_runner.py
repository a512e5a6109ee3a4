"""The Runner over Kafka: its processes die and come back, and every job is answered once."""

import asyncio
import random
import signal
import sys
from asyncio.subprocess import Process
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from aiokafka import TopicPartition
from aiokafka.structs import OffsetAndMetadata

from relay.errors import Misconfigured, Unavailable
from relay.log.kafka import KafkaLog, Timing
from relay.log.kafka.link import Link
from relay.log.port import Committed
from relay.note import beyond
from relay.retry import until_available
from relay.runner import Limits, Runner
from relay.settings import Settings
from relay.sql.marks import SqlMarks
from relay.sql.open import open_database
from relay.telemetry import Health
from schemas.events import PromptUploaded
from schemas.topics import DEAD, TOPICS
from tests.relay.kafka_mortal import Mortal
from tests.relay.runner_worker import TIMING
from tests.relay.stages import Approving, Keys, uploaded
from tests.servers import unique
from tests.sql import settings_of, until

JOBS = 400


async def test_processes_killed_and_stopped_answer_every_job_once(mortal: Mortal) -> None:
    chance = random.Random(3)
    log = KafkaLog(Settings(log=f"kafka://{mortal.bootstrap}"), TIMING)
    topics = [topic.name for topic in TOPICS] + list(DEAD)
    await log.apply(dict.fromkeys(topics, 4), {"approving": ["prompt-uploaded"]}, ["feed"])
    async with team(mortal.bootstrap, 2) as workers:
        feeding = asyncio.create_task(feed(log))
        for _ in range(3):
            await asyncio.sleep(chance.uniform(0.5, 1.5))
            await replace_one(workers, mortal.bootstrap, chance)
        zombie = chance.choice(workers)
        zombie.send_signal(signal.SIGSTOP)
        await asyncio.sleep(TIMING.session + 1)
        zombie.send_signal(signal.SIGCONT)
        await feeding
        async with asyncio.timeout(90):
            while await log.lag("approving", ["prompt-uploaded"]):
                await asyncio.wait({feeding}, timeout=0.2)
        answered = Counter([record.key async for record in log.read(["prompt-approved"])])
        assert answered == dict.fromkeys((uploaded(n).key for n in range(JOBS)), 1)
        assert not [record async for record in log.read(list(DEAD))]
        await log.close()


async def test_work_that_outlasts_every_patience_of_the_broker_is_done_once(mortal: Mortal) -> None:
    """Polling goes on meanwhile, so no partition is taken away and nothing begins again."""
    timing = Timing(session=6.0, heartbeat=0.5, unpolled=2.0)
    patience = max(timing.unpolled, timing.session) + 2
    log = KafkaLog(Settings(log=f"kafka://{mortal.bootstrap}"), timing)
    topics = dict.fromkeys([topic.name for topic in TOPICS] + list(DEAD), 4)
    groups = {"approving": ["prompt-uploaded"]}
    await until_available(lambda: log.apply(topics, groups, ["feed"]), "log", Health())
    begun: list[str] = []
    gate = asyncio.Event()

    async def slow(event: PromptUploaded) -> None:
        begun.append(event.text)
        await gate.wait()

    runner = Runner(Approving(slow), log, Keys(), Limits(poll=0.2))
    running = asyncio.create_task(runner.run())

    async def fed() -> bool:
        try:
            async with log.source("feed") as source:
                await source.append([uploaded(JOBS + 1)], source.position + 1)
        except Misconfigured:  # the broker has not yet shown the first offset that `apply` wrote
            return False
        return True

    await until(fed, 60)
    await until(lambda: bool(begun), 60)
    await asyncio.wait({running}, timeout=patience)  # for the time to pass, unless it breaks
    assert not running.done()
    gate.set()

    async def answered() -> bool:
        return await log.lag("approving", ["prompt-uploaded"]) == 0

    await until(answered, 60)
    runner.stop()
    await running
    await log.close()
    assert begun == [f"text {JOBS + 1}"]


async def test_what_is_done_beyond_a_record_that_waits_is_not_done_again_for_a_broker_that_lies(
    mortal: Mortal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, ask = await open_database(settings_of(tmp_path)), Link.ask
    address, group = Settings(log=f"kafka://{mortal.bootstrap}"), unique("approving")
    topics = dict.fromkeys([topic.name for topic in TOPICS] + list(DEAD), 4)
    marks = SqlMarks(database)
    log = KafkaLog(address, TIMING, marks, begin=[group])
    groups = {group: ["prompt-uploaded"]}
    await until_available(lambda: log.apply(topics, groups, ["feed"]), "log", Health())
    numbers = [n for n in range(1000, 1100) if log.partition_of(uploaded(n).key, 4) == 0][:8]
    ours, waiting = [uploaded(n) for n in numbers], f"text {numbers[0]}"
    async with log.source("feed") as source:
        await source.append(ours, source.position + len(ours))
    place, lying, old = TopicPartition("prompt-uploaded", 0), True, Committed(0)

    async def first_waits(event: PromptUploaded) -> None:
        if event.text == waiting:
            await asyncio.Event().wait()

    async def told() -> Committed:
        return (await log._link.offsets.committed(group, [place]))[place]

    async def all_but_one() -> bool:
        nonlocal old
        with suppress(Unavailable):  # a broker killed before may lie by itself for a while
            old = await told()
        return beyond(old.metadata) == len(ours) - 1

    async def all_done() -> bool:
        with suppress(Unavailable):
            return await log.lag(group, ["prompt-uploaded"]) == 0
        return False

    async def lie(link: Link, question: str, *args: object, **kwargs: object) -> object:
        answer = await ask(link, question, *args, **kwargs)
        if lying and question == "list_consumer_group_offsets":
            answer[place] = OffsetAndMetadata(old.offset, "")
        return answer

    stage = Approving(first_waits)
    async with running(stage, group, log):
        await until(all_but_one, 60)
    await log.close()
    await marks.close()
    monkeypatch.setattr(Link, "ask", lie)
    marks = SqlMarks(database)
    log = KafkaLog(address, TIMING, marks)
    async with running(heir := Approving(), group, log) as health:
        await until(lambda: "(and 7 beyond)" in str(health.troubles), 60)
        assert not heir.handled
        lying = False
        await until(lambda: bool(heir.handled), 60)
        await until(all_done, 60)
    answered = Counter([record.key async for record in log.read(["prompt-approved"])])
    assert {message.key: answered[message.key] for message in ours} == dict.fromkeys(
        (message.key for message in ours), 1
    )
    await log.close()
    await marks.close()
    await database.close()


@asynccontextmanager
async def running(stage: Approving, group: str, log: KafkaLog) -> AsyncIterator[Health]:
    """A Runner of `stage` under the name `group`; stopped without waiting for what it does."""
    stage.name = group
    runner = Runner(stage, log, Keys(), Limits(poll=0.2, drain=0.1))
    task = asyncio.create_task(runner.run())
    try:
        yield runner.health
    finally:
        runner.stop()
        await task


async def feed(log: KafkaLog) -> None:
    """All jobs, over a few seconds."""
    async with log.source("feed") as source:
        for n in range(0, JOBS, 10):
            await source.append([uploaded(m) for m in range(n, n + 10)], n + 10)
            await asyncio.sleep(0.1)


async def start_one(bootstrap: str) -> Process:
    worker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.relay.runner_worker", bootstrap),
        stdout=asyncio.subprocess.PIPE,
    )
    assert worker.stdout is not None
    assert await worker.stdout.readline() == b"started\n"
    return worker


async def replace_one(workers: list[Process], bootstrap: str, chance: random.Random) -> None:
    """SIGKILL one at random, and start another in its place."""
    victim = workers.pop(chance.randrange(len(workers)))
    victim.kill()
    await victim.wait()
    workers.append(await start_one(bootstrap))


@asynccontextmanager
async def team(bootstrap: str, count: int) -> AsyncIterator[list[Process]]:
    workers = [await start_one(bootstrap) for _ in range(count)]
    try:
        yield workers
        for worker in workers:
            worker.terminate()
        assert [await worker.wait() for worker in workers] == [0] * count
    finally:
        for worker in workers:
            if worker.returncode is None:
                worker.kill()
                await worker.wait()
