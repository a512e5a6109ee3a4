"""Persons, their keys, and the master that wraps them."""

import asyncio
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select

from relay.errors import Misconfigured, PersonErased, Unavailable
from relay.keys import KEY_BYTES, PersonKey
from relay.settings import Settings
from relay.sql.database import Database
from relay.sql.keys import SqlKeyStore
from relay.sql.master import MASTER_FILE, MasterKey, load_master
from relay.sql.open import open_database
from relay.sql.schema import person_keys, persons
from tests.sql import settings_of

MASTER = MasterKey(bytes(range(32)))


async def _made(keys: SqlKeyStore, sql: Database) -> tuple[UUID, PersonKey]:
    person = uuid4()
    async with sql.transaction() as tx:
        return person, await keys.create(tx, person)


async def test_the_key_made_in_accepting_is_the_key_found_later(sql: Database) -> None:
    person, key = await _made(SqlKeyStore(sql, MASTER), sql)
    assert len(key.secret) == KEY_BYTES
    assert await SqlKeyStore(sql, MASTER).key(person) == key


async def test_a_person_has_one_key_however_many_jobs_begin_at_once(sql: Database) -> None:
    keys, person = SqlKeyStore(sql, MASTER), uuid4()

    async def accept() -> PersonKey:
        async with sql.transaction() as tx:
            return await keys.create(tx, person)

    assert len({key.secret for key in await asyncio.gather(*(accept() for _ in range(5)))}) == 1


async def test_the_key_of_a_job_that_was_not_accepted_is_none(sql: Database) -> None:
    keys, person = SqlKeyStore(sql, MASTER), uuid4()

    async def accept_and_fail() -> None:
        async with sql.transaction() as tx:
            await keys.create(tx, person)
            raise KeyError

    with pytest.raises(KeyError):
        await accept_and_fail()
    with pytest.raises(Unavailable):
        await keys.key(person)


async def test_no_key_lies_in_plain(sql: Database) -> None:
    _, key = await _made(SqlKeyStore(sql, MASTER), sql)
    async with sql.reading() as tx:
        wrapped = (await tx.execute(select(person_keys.c.wrapped))).scalar_one()
    assert key.secret not in bytes(wrapped)
    assert key.secret[:16] not in bytes(wrapped)
    assert repr(key.secret) not in repr(key)
    assert repr(MASTER.secret) not in repr(MASTER)


async def test_a_destroyed_key_is_a_fact_that_stays(sql: Database) -> None:
    keys = SqlKeyStore(sql, MASTER)
    person, _ = await _made(keys, sql)
    async with sql.transaction() as tx:
        assert await keys.destroy(tx, person)
        assert not await keys.destroy(tx, person)
    with pytest.raises(PersonErased):
        await keys.key(person)
    with pytest.raises(PersonErased):
        async with sql.transaction() as tx:
            await keys.create(tx, person)


async def test_others_notice_an_erasure_within_a_minute(sql_settings: Settings) -> None:
    now = 0.0
    sql = await open_database(sql_settings)
    here, there = (SqlKeyStore(sql, MASTER, clock=lambda: now) for _ in range(2))
    person, key = await _made(here, sql)
    assert await there.key(person) == key
    async with sql.transaction() as tx:
        await here.destroy(tx, person)
    assert await there.key(person) == key  # cached
    now += 61
    with pytest.raises(PersonErased):
        await there.key(person)
    await sql.close()


async def test_another_master_refuses_to_start_and_names_the_setting(sql: Database) -> None:
    await SqlKeyStore(sql, MASTER).check()
    await SqlKeyStore(sql, MASTER).check()
    with pytest.raises(Misconfigured, match="VOXRELAY_MASTER_KEY_FILE"):
        await SqlKeyStore(sql, MasterKey(bytes(32))).check()


async def test_another_master_is_no_records_fault(sql: Database) -> None:
    person, _ = await _made(SqlKeyStore(sql, MASTER), sql)
    with pytest.raises(Unavailable, match="VOXRELAY_MASTER_KEY_FILE"):
        await SqlKeyStore(sql, MasterKey(bytes(32))).key(person)


async def test_a_key_moved_to_another_person_does_not_open(sql: Database) -> None:
    keys = SqlKeyStore(sql, MASTER)
    person, _ = await _made(keys, sql)
    other = uuid4()
    async with sql.transaction() as tx:
        wrapped = (await tx.execute(select(person_keys.c.wrapped))).scalar_one()
        row = {"person": other, "wrapped": wrapped, "master": MASTER.id, "created_at": tx.now}
        await tx.insert_absent(person_keys, row)
    assert await keys.key(person)
    with pytest.raises(Unavailable):
        await keys.key(other)


async def test_an_address_is_one_person_and_is_kept_nowhere(sql: Database) -> None:
    keys = SqlKeyStore(sql, MASTER)
    async with sql.transaction() as tx:
        first = await keys.person_of_address(tx, "203.0.113.7")
        assert await keys.person_of_address(tx, "203.0.113.7") == first
        assert await keys.person_of_address(tx, "203.0.113.8") != first
    async with sql.reading() as tx:
        assert await SqlKeyStore(sql, MASTER).person_of_address(tx, "203.0.113.7") == first
        rows = (await tx.execute(select(persons))).all()
    assert b"203.0.113" not in repr(rows).encode()


async def test_everybody_on_the_machine_is_one_person(sql: Database) -> None:
    keys = SqlKeyStore(sql, MASTER)
    async with sql.transaction() as tx:
        local = await keys.local_person(tx)
        assert await keys.local_person(tx) == local
        assert await keys.person_of_address(tx, "127.0.0.1") != local


async def test_a_secret_of_the_site_is_the_same_in_every_process(sql: Database) -> None:
    here, there = SqlKeyStore(sql, MASTER), SqlKeyStore(sql, MASTER)
    assert await here.secret("urls") == await there.secret("urls")
    assert await here.secret("urls") != await here.secret("tokens")


def test_an_embedded_relay_makes_its_master_key_for_itself_alone(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path / "data")
    made = load_master(settings)
    file = tmp_path / "data" / MASTER_FILE
    assert file.stat().st_mode & 0o777 == 0o600
    assert load_master(settings) == made
    assert load_master(Settings(data=tmp_path / "other")) != made
    assert [path.name for path in file.parent.iterdir()] == [MASTER_FILE]


def test_a_cluster_is_told_to_name_its_master_key(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="VOXRELAY_MASTER_KEY_FILE"):
        load_master(Settings(data=tmp_path, sql="postgresql://u:p@127.0.0.1/db"))


@pytest.mark.parametrize("content", ["", "00" * 31, "00" * 33, "zz" * 32, "é" * 32])
def test_a_master_key_that_is_none_is_refused(tmp_path: Path, content: str) -> None:
    settings = settings_of(tmp_path)
    assert settings.master_key_file is not None
    settings.master_key_file.write_text(content)
    with pytest.raises(Misconfigured, match="VOXRELAY_MASTER_KEY_FILE"):
        load_master(settings)
