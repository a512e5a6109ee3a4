"""Databases that die, hang or are locked in the middle, and work that is cancelled."""

import asyncio
import random
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest
from sqlalchemy import func, select, text

from infra.servers import ToolMissing, postgres
from infra.servers.postgres import PostgresServer
from ingest.view import View
from relay import stopping
from relay.doorbell import open_doorbell
from relay.errors import Misconfigured, Unavailable
from relay.keys import PersonKey
from relay.log.sqlite import SqliteLog
from relay.outbox import SOURCES, Outbox, enqueue
from relay.sql import faults, schema
from relay.sql.database import Database
from relay.sql.open import open_database
from relay.timer import Timer
from tests.ingest.chain import Chain
from tests.relay.test_outbox import TOPIC, message, published, publishing
from tests.servers import unavailable
from tests.sql import settings_of, until


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A PostgreSQL that may be hurt."""
    with tempfile.TemporaryDirectory(prefix="voxrelay-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        try:
            own = postgres(Path(folder))
        except ToolMissing as lacking:
            unavailable(str(lacking))
        with own:
            yield own


@pytest.fixture
async def hurt(server: PostgresServer, tmp_path: Path) -> AsyncIterator[Database]:
    opened = await open_database(settings_of(tmp_path, server.url))
    yield opened
    await opened.close()


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[SqliteLog]:
    made = SqliteLog(tmp_path / "log.db")
    await made.apply({TOPIC: 4}, {}, SOURCES)
    yield made
    await made.close()


class NoKeys:
    async def key(self, person: UUID) -> PersonKey:
        raise AssertionError("nothing here is sealed")


async def add_one(sql: Database) -> None:
    async with sql.transaction() as tx:
        await tx.insert_absent(schema.persons, {"id": uuid4(), "created_at": tx.now})


async def count(sql: Database) -> int:
    async with sql.reading() as tx:
        query = select(func.count()).select_from(schema.persons)
        return int((await tx.execute(query)).scalar_one())


async def test_a_server_killed_in_mid_transaction_is_an_outage_and_then_all_is_well(
    server: PostgresServer, hurt: Database
) -> None:
    await add_one(hurt)
    before = await count(hurt)

    async def cut_off() -> None:
        async with hurt.transaction() as tx:
            await tx.insert_absent(schema.persons, {"id": uuid4(), "created_at": tx.now})
            server.kill()

    with pytest.raises(Unavailable):
        await cut_off()
    with pytest.raises(Unavailable):
        await hurt.check()
    server.start()  # in this thread: it ends with the one that started it
    await hurt.check()
    assert await count(hurt) == before


async def test_a_server_that_hangs_is_noticed(
    server: PostgresServer, hurt: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await hurt.check()
    monkeypatch.setattr(faults, "STATEMENT_SECONDS", 1.0)
    server.stop()
    try:
        async with asyncio.timeout(15):
            with pytest.raises(Unavailable):
                await hurt.check()
            with pytest.raises(Unavailable):
                await add_one(hurt)
    finally:
        server.cont()
    monkeypatch.undo()
    await add_one(hurt)


async def test_outbox_and_view_go_on_when_the_server_comes_back(
    server: PostgresServer, hurt: Database, log: SqliteLog, tmp_path: Path
) -> None:
    outbox = Outbox(hurt, log)
    settings = settings_of(tmp_path, server.url)
    async with open_doorbell(settings, hurt) as doorbell, publishing(outbox):
        async with hurt.transaction() as tx:
            await enqueue(tx, [message("a", 1)])
        await published(log, 1)
        server.kill()
        await until(lambda: not outbox.health.ready, 20)
        chain, event = Chain(), Chain().uploaded()
        with pytest.raises(Unavailable):
            await View(hurt, doorbell).handle(event, chain.context(event))
        server.start()  # in this thread: it ends with the one that started it
        async with hurt.transaction() as tx:
            await enqueue(tx, [message("a", 2)])
        assert await published(log, 2) == [("a", 1), ("a", 2)]
        async with doorbell.listen(chain.job) as bell:
            await View(hurt, doorbell).handle(event, chain.context(event))
            assert await bell.wait(5)
        await until(lambda: outbox.health.ready, 20)


async def test_loops_can_be_stopped_while_the_server_is_down(
    server: PostgresServer, hurt: Database, log: SqliteLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stopping, "GRACE", 0.5)
    outbox, timer = Outbox(hurt, log), Timer(hurt, NoKeys(), {})
    running = [asyncio.create_task(loop.run()) for loop in (outbox, timer)]
    await until(lambda: bool(outbox._feeds))
    server.kill()
    try:
        await until(lambda: not outbox.health.ready and not timer.health.ready, 20)
        for loop in (outbox, timer):
            loop.stop()
        async with asyncio.timeout(15):
            await asyncio.gather(*running)
    finally:
        server.start()


async def test_a_user_who_may_not_create_tables_is_told_what_to_grant(
    server: PostgresServer, tmp_path: Path
) -> None:
    with psycopg.connect(server.url, autocommit=True) as line:
        line.execute("CREATE DATABASE strict")
        line.execute("CREATE ROLE guest LOGIN PASSWORD 'guest'")
    address = psycopg.conninfo.conninfo_to_dict(server.url)
    guest = f"postgresql://guest:guest@{address['host']}:{address['port']}/strict"
    with pytest.raises(Misconfigured, match=r"VOXRELAY_SQL.*GRANT"):
        await open_database(settings_of(tmp_path, guest))


async def test_no_password_is_ever_in_an_error(tmp_path: Path) -> None:
    with pytest.raises(Unavailable) as caught:
        await open_database(settings_of(tmp_path, "postgresql://u:hunter2@127.0.0.1:9/x"))
    assert "hunter2" not in f"{caught.value!r} {caught.value.__cause__!r}"


async def test_a_file_locked_by_another_process_is_waited_for(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    mine, others = await open_database(settings), await open_database(settings)
    async with others.transaction() as tx:
        await tx.insert_absent(schema.persons, {"id": uuid4(), "created_at": tx.now})
        waiting = asyncio.create_task(add_one(mine))
        await asyncio.wait({waiting}, timeout=0.2)
        assert not waiting.done()
    await waiting
    assert await count(mine) == 2
    await mine.close()
    await others.close()


async def test_cancelled_work_leaves_nothing_locked_or_half_done(sql: Database) -> None:
    async def work() -> None:
        async with sql.transaction() as tx:
            for _ in range(2):
                await tx.insert_absent(schema.persons, {"id": uuid4(), "created_at": tx.now})

    for _ in range(8):
        tasks = [asyncio.create_task(work()) for _ in range(6)]
        await asyncio.sleep(random.uniform(0, 0.03))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    async with asyncio.timeout(10):
        before = await count(sql)
        assert before % 2 == 0
        await add_one(sql)
        assert await count(sql) == before + 1


async def test_a_statement_that_takes_too_long_gives_its_connection_back(
    hurt: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faults, "STATEMENT_SECONDS", 0.3)

    async def sleep() -> None:
        async with hurt.reading() as tx:
            await tx.execute(text("SELECT pg_sleep(30)"))

    for _ in range(3):
        with pytest.raises(Unavailable):
            await sleep()
    monkeypatch.undo()
    async with asyncio.timeout(10):
        await hurt.check()
