"""What nobody names is swept; what somebody names, or may be about to, never."""

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, insert, select, update

from relay.objects.disk import DiskStore
from relay.retention import KINDS, read_retention
from relay.settings import Settings
from relay.sql import schema
from relay.sql.database import Database, Transaction
from relay.sql.dues import Due, finish, schedule
from relay.sql.open import open_database
from relay.sweep import SWEEP, Sweeper, nobodys
from schemas.states import State

DAY = timedelta(hours=24)


class Clock:
    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def timed(sql: Database, sql_settings: Settings, clock: Clock) -> AsyncIterator[Database]:
    opened = await open_database(sql_settings, clock)
    yield opened
    await opened.close()


@pytest.fixture
def objects(tmp_path: Path) -> DiskStore:
    return DiskStore(tmp_path / "objects")


async def job(database: Database, person: UUID, state: State) -> UUID:
    id_ = uuid4()
    async with database.transaction() as tx:
        row: dict[str, Any] = {
            "id": id_,
            "person": person,
            "site": "s",
            "state": state.value,
            "rank": 0,
            "seq": 0,
            "accepted_at": tx.now,
            "updated_at": tx.now,
            "detail": {},
        }
        await tx.execute(insert(schema.jobs).values(row))
    return id_


async def put(objects: DiskStore, person: UUID, kind: str = "speech") -> str:
    key = f"{kind}/{person}/{uuid4().hex}"
    await objects.put(key, b"sound", "audio/flac")
    return key


class Endless:
    """A log that has room for everything."""

    async def trim(self, kept: Mapping[str, timedelta]) -> int:
        assert kept["prompt-uploaded"] == kept["prompt-uploaded-dead"] == timedelta(days=190)
        return 0


async def sweep(database: Database, objects: DiskStore, keep: str = "") -> set[str]:
    kept = read_retention(keep)
    await Sweeper(database, objects, Endless(), kept)(Due(uuid4(), SWEEP, database.now()))
    return {stat.key async for stat in objects.list("")}


async def test_an_object_of_nobody_goes_once_it_is_a_day_old(
    timed: Database, clock: Clock, objects: DiskStore
) -> None:
    key = await put(objects, uuid4())
    assert await sweep(timed, objects) == {key}
    clock.now += DAY + timedelta(minutes=1)
    assert await sweep(timed, objects) == set()


async def test_a_named_object_stays(timed: Database, clock: Clock, objects: DiskStore) -> None:
    person = uuid4()
    named, other = await put(objects, person), await put(objects, person)
    done = await job(timed, person, State.DELIVERED)
    async with timed.transaction() as tx:
        ref = {"key": named, "event": uuid4(), "job": done, "created_at": tx.now}
        await tx.insert_absent(schema.object_refs, ref)
    clock.now += DAY * 3
    assert await sweep(timed, objects) == {named}
    assert other not in {named}


@pytest.mark.parametrize("state", [State.ACCEPTED, State.HELD, State.STUCK])
async def test_nothing_of_a_person_with_an_unfinished_job_goes_however_old(
    timed: Database, clock: Clock, objects: DiskStore, state: State
) -> None:
    person = uuid4()
    key, others = await put(objects, person), await put(objects, uuid4())
    await job(timed, person, state)
    clock.now += DAY * 30
    assert await sweep(timed, objects) == {key}
    assert others != key


async def test_nothing_goes_within_a_day_of_a_jobs_end(
    timed: Database, clock: Clock, objects: DiskStore
) -> None:
    person = uuid4()
    key = await put(objects, person)
    clock.now += DAY * 2
    await job(timed, person, State.DELIVERED)
    assert await sweep(timed, objects) == {key}
    clock.now += DAY + timedelta(minutes=1)
    assert await sweep(timed, objects) == set()


async def test_rows_that_served_their_time_are_forgotten(
    timed: Database, clock: Clock, objects: DiskStore
) -> None:
    async def add(tx: Any) -> None:
        waiting = Due(uuid4(), "k", tx.now)
        done = Due(uuid4(), "k", tx.now)
        await schedule(tx, waiting)
        await schedule(tx, done)
        await finish(tx, done.id)
        row = {"person": uuid4(), "key": "k", "digest": b"d", "jobs": [], "created_at": tx.now}
        await tx.insert_absent(schema.idempotency, row)
        link = {"hash": b"h", "person": uuid4(), "expires_at": tx.now}
        await tx.insert_absent(schema.sign_in_links, link)
        for life in (timedelta(0), DAY * 365):
            session = {
                "id": uuid4(),
                "person": uuid4(),
                "role": "user",
                "refresh": b"r",
                "refreshed_at": tx.now,
                "expires_at": tx.now + life,
            }
            await tx.insert_absent(schema.sessions, session)

    async def counts() -> tuple[int, ...]:
        tables = (schema.due, schema.idempotency, schema.sign_in_links, schema.sessions)
        async with timed.reading() as tx:
            queries = [select(func.count()).select_from(table) for table in tables]
            return tuple([(await tx.execute(query)).scalar_one() for query in queries])

    await timed.run(add)
    await sweep(timed, objects)
    assert await counts() == (2, 1, 1, 2)
    clock.now += DAY
    await sweep(timed, objects)
    assert await counts() == (2, 0, 0, 1)
    clock.now += DAY * 190
    await sweep(timed, objects)
    assert await counts() == (1, 0, 0, 1)


async def test_a_job_accepted_after_the_sweep_has_looked_keeps_its_recording(
    timed: Database, clock: Clock, objects: DiskStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same bytes sent again adopt an object that is about to be deleted."""
    person = uuid4()
    key = await put(objects, person, kind="recording")
    clock.now += DAY * 2
    looked = 0

    async def then_accepted(tx: Transaction, keys: Sequence[str]) -> Sequence[str]:
        nonlocal looked
        looked += 1
        found = await nobodys(tx, keys)
        if looked == 1:
            assert found == [key]
            await job(timed, person, State.ACCEPTED)
        return found

    monkeypatch.setattr("relay.sweep.nobodys", then_accepted)
    assert await sweep(timed, objects) == {key}


async def test_a_policy_is_nobodys_and_stays_for_good(
    timed: Database, clock: Clock, objects: DiskStore
) -> None:
    key = await put(objects, UUID(int=0), kind="policy")
    clock.now += DAY * 400
    assert await sweep(timed, objects) == {key}


async def name(database: Database, key: str, job: UUID) -> None:
    async with database.transaction() as tx:
        ref = {"key": key, "event": uuid4(), "job": job, "created_at": tx.now}
        await tx.insert_absent(schema.object_refs, ref)


async def refs(database: Database) -> set[str]:
    async with database.reading() as tx:
        return set((await tx.execute(select(schema.object_refs.c.key))).scalars())


async def test_an_object_goes_when_its_kind_is_kept_for_less_long(
    timed: Database, clock: Clock, objects: DiskStore
) -> None:
    person = uuid4()
    speech, audio = await put(objects, person), await put(objects, person, "audio")
    again = await put(objects, person)
    done = await job(timed, person, State.DELIVERED)
    for key in (speech, audio, again):
        await name(timed, key, done)
    clock.now += DAY * 6
    await name(timed, again, done)  # the same was asked for, and found
    clock.now += DAY * 2
    assert await sweep(timed, objects, "speech=7") == {audio, again}
    assert await refs(timed) == {audio, again}
    clock.now += DAY * 6
    assert await sweep(timed, objects, "speech=7") == {audio}


async def test_nothing_goes_for_its_age_while_its_person_has_a_job_under_way(
    timed: Database, clock: Clock, objects: DiskStore
) -> None:
    person = uuid4()
    key = await put(objects, person)
    under_way = await job(timed, person, State.APPROVED)
    await name(timed, key, under_way)
    clock.now += DAY * 400
    assert await sweep(timed, objects, "speech=7") == {key}
    ended = {"state": State.FAILED.value, "updated_at": clock.now}
    async with timed.transaction() as tx:
        await tx.execute(update(schema.jobs).values(ended))
    assert await sweep(timed, objects, "speech=7") == {key}
    clock.now += DAY * 2
    assert await sweep(timed, objects, "speech=7") == set()


async def test_a_death_between_object_and_row_is_made_good_by_the_next_sweep(
    timed: Database, clock: Clock, objects: DiskStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = uuid4()
    keys = {await put(objects, person) for _ in range(2)}
    done = await job(timed, person, State.DELIVERED)
    for key in keys:
        await name(timed, key, done)
    clock.now += DAY * 8
    delete, deleted = objects.delete, list[str]()

    async def deadly(key: str) -> None:
        if deleted:
            raise KeyboardInterrupt
        deleted.append(key)
        await delete(key)

    with monkeypatch.context() as dying:
        dying.setattr(objects, "delete", deadly)
        with pytest.raises(KeyboardInterrupt):
            await sweep(timed, objects, "speech=7")
    assert await refs(timed) == keys, "the transaction was rolled back"
    assert await sweep(timed, objects, "speech=7") == set()
    clock.now += DAY * 190
    await sweep(timed, objects, "speech=7")
    assert await refs(timed) == set()


async def test_what_comes_for_an_erased_person_goes_at_once(
    timed: Database, objects: DiskStore
) -> None:
    person, other = uuid4(), uuid4()
    await put(objects, person)
    key = await put(objects, other)
    async with timed.transaction() as tx:
        row = {"person": person, "created_at": tx.now, "destroyed_at": tx.now}
        await tx.insert_absent(schema.person_keys, row)
    assert await sweep(timed, objects) == {key}


async def test_an_archived_hour_of_the_log_goes_by_its_own_age(
    timed: Database, clock: Clock, objects: DiskStore
) -> None:
    begin = clock.now.replace(minute=0, second=0, microsecond=0)
    hours = {begin - DAY * n: f"{begin - DAY * n:%Y-%m-%dT%H}" for n in (1, 29, 31)}
    for name in hours.values():
        for key in (f"archive/hours/{name}", f"archive/records/{name}.00000.prompt-held"):
            await objects.put(key, b"records", "application/gzip")
    await objects.put("archive/hours/no-hour", b"?", "application/json")
    left = await sweep(timed, objects, "archive=30")
    assert {key.partition("T")[0][-10:] for key in left - {"archive/hours/no-hour"}} == {
        f"{hour:%Y-%m-%d}" for hour in hours if hour > begin - DAY * 30
    }
    assert len(left) == 5
    clock.now += DAY * 1000
    assert len(await sweep(timed, objects)) == 5, "three years, where nobody says otherwise"
    clock.now += DAY * 100
    assert await sweep(timed, objects) == {"archive/hours/no-hour"}


def test_days_are_read_and_what_cannot_be_is_refused() -> None:
    kept = read_retention("speech=7, prompt-held=365")
    assert kept.objects["speech"] == DAY * 7
    assert kept.objects["audio"] == DAY * 190
    assert kept.archive == DAY * 1095
    assert read_retention("archive=365").archive == DAY * 365
    assert kept.topics["prompt-held"] == kept.topics["prompt-held-dead"] == DAY * 365
    assert "audit-root-published" not in kept.topics
    for wrong in ("speech", "speech=0", "speech=-1", "voice=7", "person-erased=7", "policy=7"):
        with pytest.raises(ValueError, match="is n"):
            read_retention(wrong)


def test_every_kind_of_object_that_a_stage_makes_has_its_days() -> None:
    made = set[str]()
    for folder in ("ingest", "moderation", "synth", "delivery"):
        for file in Path(folder).rglob("*.py"):
            made |= set(re.findall(r'object_key\(\s*"(\w+)"', file.read_text()))
    assert made | {"recording"} == KINDS.keys()
