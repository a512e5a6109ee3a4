"""Transactions and tables, the same on both databases."""

import asyncio
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import delete, func, insert, inspect, select, text, update
from sqlalchemy.schema import DropIndex, DropTable

from relay.errors import Misconfigured, Unavailable
from relay.settings import Settings
from relay.sql import schema
from relay.sql.database import Database, Transaction
from relay.sql.faults import Conflict
from relay.sql.open import open_database
from tests.sql import settings_of


async def _persons(sql: Database) -> int:
    async with sql.reading() as tx:
        query = select(func.count()).select_from(schema.persons)
        return int((await tx.execute(query)).scalar_one())


async def _insert_then_fail(sql: Database) -> None:
    async with sql.transaction() as tx:
        await tx.insert_absent(schema.persons, {"id": uuid4(), "created_at": tx.now})
        tx.wake("something")
        raise KeyError


async def test_what_a_block_wrote_stays_and_what_raised_is_gone(sql: Database) -> None:
    async with sql.transaction() as tx:
        await tx.insert_absent(schema.persons, {"id": uuid4(), "created_at": tx.now})
    with pytest.raises(KeyError):
        await _insert_then_fail(sql)
    assert await _persons(sql) == 1


async def test_of_two_inserts_of_one_key_one_is_told_no(sql: Database) -> None:
    person = uuid4()

    async def insert_it() -> bool:
        async with sql.transaction() as tx:
            first = await tx.insert_absent(schema.persons, {"id": person, "created_at": tx.now})
            await asyncio.sleep(0)
            return first

    assert sorted(await asyncio.gather(*(insert_it() for _ in range(5)))) == [False] * 4 + [True]
    assert await _persons(sql) == 1


async def test_instants_come_back_as_they_went(sql: Database) -> None:
    person = uuid4()
    async with sql.transaction() as tx:
        await tx.insert_absent(schema.persons, {"id": person, "created_at": tx.now})
        written = tx.now
    async with sql.reading() as tx:
        assert (await tx.execute(select(schema.persons.c.created_at))).scalar_one() == written


async def test_a_wake_waits_for_the_commit(sql: Database) -> None:
    signal = sql.signal("something")
    with pytest.raises(KeyError):
        await _insert_then_fail(sql)
    assert not signal.is_set()
    async with sql.transaction() as tx:
        tx.wake("something")
        assert not signal.is_set()
    assert signal.is_set()


async def test_run_does_the_whole_work_again_after_a_lost_race(sql: Database) -> None:
    tries = []

    async def work(tx: Transaction) -> str:
        tries.append(await tx.insert_absent(schema.persons, {"id": uuid4(), "created_at": tx.now}))
        if len(tries) < 3:
            raise Conflict("a deadlock, say")
        return "done"

    assert await sql.run(work) == "done"
    assert len(tries) == 3
    assert await _persons(sql) == 1


@pytest.mark.parametrize(
    "sql_settings", ["postgresql"], indirect=True
)  # one writer at a time cannot deadlock
async def test_a_deadlock_is_a_lost_race_and_run_settles_it(sql: Database) -> None:
    first, second = uuid4(), uuid4()
    async with sql.transaction() as tx:
        for person in (first, second):
            await tx.insert_absent(schema.persons, {"id": person, "created_at": tx.now})
    barrier = asyncio.Barrier(2)
    met = 0

    async def lock_both(one: object, other: object) -> None:
        async def work(tx: Transaction) -> None:
            nonlocal met
            touch = update(schema.persons).values(created_at=tx.now)
            await tx.execute(touch.where(schema.persons.c.id == one))
            if met < 2:
                met += 1
                await barrier.wait()
            await tx.execute(touch.where(schema.persons.c.id == other))

        await sql.run(work)

    await asyncio.gather(lock_both(first, second), lock_both(second, first))


async def test_a_bug_in_a_statement_is_not_taken_for_an_outage(sql: Database) -> None:
    with pytest.raises(Exception, match="no_such_table") as caught:
        async with sql.reading() as tx:
            await tx.execute(text("SELECT * FROM no_such_table"))
    assert not isinstance(caught.value, Unavailable)


async def test_an_error_quotes_no_value(sql: Database) -> None:
    with pytest.raises(Exception, match="no_such_column") as caught:
        async with sql.reading() as tx:
            await tx.execute(text("SELECT no_such_column, :said"), {"said": "你好"})
    assert "你好" not in f"{caught.value} {caught.value!r}"


async def test_opening_again_changes_nothing(sql: Database, sql_settings: Settings) -> None:
    async with sql.transaction() as tx:
        await tx.insert_absent(schema.persons, {"id": uuid4(), "created_at": tx.now})
    again = await open_database(sql_settings)
    assert await _persons(again) == 1
    await again.check()
    await again.close()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_processes_that_start_together_make_the_tables_once(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    url = "sqlite" if kind == "sqlite" else request.getfixturevalue("database")
    opened = await asyncio.gather(*(open_database(settings_of(tmp_path, url)) for _ in range(4)))
    async with opened[0].reading() as tx:
        versions = (await tx.execute(select(schema.migrations.c.version))).scalars().all()
    assert sorted(versions) == [*range(1, schema.VERSION + 1)]
    for database in opened:
        await database.close()


async def test_tables_of_the_second_version_gain_what_came_later(
    sql: Database, sql_settings: Settings
) -> None:
    names = "accounts sessions sign_in_links token_keys access_keys webhooks notice_tries voices"
    later = [
        schema.metadata.tables[name]
        for name in (*names.split(), "wechat_tokens", "upload_parts", "uploads", "voice_shares")
    ]
    (index,) = [each for each in schema.jobs.indexes if each.name == "ix_jobs_person_state"]
    async with sql.transaction() as tx:
        for table in later:
            await tx.execute(DropTable(table))
        await tx.execute(DropIndex(index))
        await tx.execute(delete(schema.migrations).where(schema.migrations.c.version > 2))
    again = await open_database(sql_settings)
    async with again.reading() as tx:
        for table in later:
            assert (await tx.execute(select(table))).all() == []
        found: list[str | None] = []
        await tx.run_sync(
            lambda line: found.extend(each["name"] for each in inspect(line).get_indexes("jobs"))
        )
    assert index.name in found
    await again.close()


async def test_tables_of_a_newer_release_are_refused(sql: Database, sql_settings: Settings) -> None:
    newer = {"version": schema.VERSION + 1}
    async with sql.transaction() as tx:
        await tx.execute(insert(schema.migrations).values(**newer, applied_at=tx.now))
    with pytest.raises(Misconfigured, match=rf"version {schema.VERSION + 1}.*VOXRELAY_SQL|SQL"):
        await open_database(sql_settings)


async def test_a_server_that_does_not_answer_is_an_outage(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        await open_database(settings_of(tmp_path, "postgresql://nobody:x@127.0.0.1:9/none"))


async def test_a_file_that_is_no_database_is_an_outage(tmp_path: Path) -> None:
    (tmp_path / "app.db").write_bytes(b"these are not the bytes of a database" * 40)
    with pytest.raises(Unavailable, match="NOTADB"):
        await open_database(settings_of(tmp_path))


async def test_a_data_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    with pytest.raises(Misconfigured, match="VOXRELAY_DATA"):
        await open_database(Settings(data=tmp_path / "data"))


async def test_reading_waits_for_no_writer(tmp_path: Path) -> None:
    sql = await open_database(settings_of(tmp_path))
    async with sql.transaction() as tx:
        await tx.insert_absent(schema.persons, {"id": uuid4(), "created_at": tx.now})
        assert await _persons(sql) == 0
    assert await _persons(sql) == 1
    await sql.close()
