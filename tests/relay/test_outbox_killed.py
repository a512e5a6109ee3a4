"""Publishers killed with SIGKILL in mid-work: each message reaches the log once, in order."""

import asyncio
import contextlib
import random
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from relay.log.open import open_log
from relay.log.port import Log, Message
from relay.outbox import SHARDS, enqueue, source_name
from relay.retry import until_available
from relay.settings import Settings
from relay.sql.database import Database
from relay.sql.open import open_database
from relay.telemetry import Health
from tests.servers import unique
from tests.sql import settings_of

KEYS = [f"job-{n}" for n in range(8)]
ROUNDS = 25
PUBLISHERS = 2
KILLS = 3


@pytest.fixture(params=["embedded", "cluster"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    if request.param == "embedded":
        return settings_of(tmp_path)
    kafka = request.getfixturevalue("kafka_server")
    found = settings_of(tmp_path, request.getfixturevalue("database"))
    return found.model_copy(update={"log": f"kafka://{kafka.bootstrap}"})


async def _publisher(settings: Settings, name: str) -> asyncio.subprocess.Process:
    command = (sys.executable, "-m", "tests.relay.outbox_publisher")
    process = await asyncio.create_subprocess_exec(
        *command, settings.model_dump_json(), name, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"publishing\n"
    return process


@asynccontextmanager
async def killed_and_started(settings: Settings, name: str) -> AsyncIterator[None]:
    """Publishers, one of which is killed now and then in mid-work, and another started."""
    running = await asyncio.gather(*(_publisher(settings, name) for _ in range(PUBLISHERS)))

    async def kill() -> None:
        for _ in range(KILLS):
            await asyncio.sleep(random.uniform(0, 1.5))
            victim = running.pop(0)
            victim.kill()
            await victim.wait()
            running.append(await _publisher(settings, name))

    killing = asyncio.create_task(kill())
    try:
        yield
        await killing
    finally:
        killing.cancel()
        await asyncio.gather(killing, return_exceptions=True)
        for process in running:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def accept_slowly(sql: Database, topic: str) -> None:
    """Every key's messages one after another, the keys side by side."""

    async def one(key: str) -> None:
        for n in range(ROUNDS):
            async with sql.transaction() as tx:
                await enqueue(tx, [Message(topic, key, str(n).encode())])
            await asyncio.sleep(random.uniform(0, 0.2))

    async with asyncio.TaskGroup() as group:
        for key in KEYS:
            group.create_task(one(key))


async def collected(log: Log, topic: str) -> dict[str, list[int]]:
    """All that was published, by key, in order; waits until as many are there as were accepted."""
    found: dict[str, list[int]] = {key: [] for key in KEYS}
    async with asyncio.timeout(120):
        async for record in log.read([topic], follow=True):
            found[record.key].append(int(record.value))
            if sum(map(len, found.values())) == len(KEYS) * ROUNDS:
                return found
    return found


@pytest.mark.timeout(300)  # starting a process takes seconds on a busy machine
async def test_publishers_killed_at_random_publish_each_once_and_in_order(
    settings: Settings,
) -> None:
    topic, name = unique("accepted"), unique("outbox")
    sources = [source_name(shard, name) for shard in range(SHARDS)]
    sql, log = await open_database(settings), open_log(settings)
    try:
        await until_available(lambda: log.apply({topic: 4}, {}, sources), "log", Health())
        async with killed_and_started(settings, name):
            await accept_slowly(sql, topic)
            await collected(log, topic)
        # Whatever the last ones did before they died is there now, too.
        total = [record async for record in log.read([topic])]
        assert len(total) == len(KEYS) * ROUNDS
        assert await collected(log, topic) == {key: list(range(ROUNDS)) for key in KEYS}
    finally:
        await log.close()
        await sql.close()
