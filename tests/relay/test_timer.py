"""What falls due is done once, by one process, and what follows reaches the outbox with it."""

import asyncio
import base64
import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4, uuid5

import pytest
from sqlalchemy import select

from ingest.ending import HANDLERS, ageing, giving_up
from relay.claims import claim
from relay.codec import decode
from relay.errors import Unavailable
from relay.keys import KEY_BYTES, PersonKey
from relay.log.port import Record
from relay.settings import Settings
from relay.sql import schema
from relay.sql.database import Database
from relay.sql.dues import KEPT, Due, schedule
from relay.sql.open import open_database
from relay.timer import Again, Done, Handler, Timer, pause
from schemas.envelope import Head, read_head
from schemas.events import JobFailed, PromptHeld
from tests.sql import until

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
KEY = PersonKey(bytes(KEY_BYTES))
FAILED = JobFailed(stage="timer", code="c", message="m")


class Clock:
    """The instant that everybody is told."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


class Keys:
    async def key(self, person: UUID) -> PersonKey:
        return KEY


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def timed(sql: Database, sql_settings: Settings, clock: Clock) -> Any:
    """The database by the test's clock; `sql` empties it afterwards."""
    opened = await open_database(sql_settings, clock)
    yield opened
    await opened.close()


def head() -> Head:
    person, job = uuid4(), uuid4()
    return Head(uuid4(), PromptHeld.TYPE, "voxrelay://test", NOW, person, str(job))


def row(kind: str = "k", at: datetime = NOW, **more: Any) -> Due:
    return Due(uuid4(), kind, at, more.pop("head", None), more)


async def add(database: Database, *rows: Due) -> None:
    async with database.transaction() as tx:
        for one in rows:
            await schedule(tx, one)


async def stored(database: Database) -> Sequence[Any]:
    async with database.reading() as tx:
        return (await tx.execute(select(schema.due).order_by(schema.due.c.at))).all()


async def sent(database: Database) -> list[tuple[Head, Any]]:
    """What lies in the outbox: heads and events."""
    async with database.reading() as tx:
        rows = (await tx.execute(select(schema.outbox).order_by(schema.outbox.c.id))).all()
    found = []
    for one in rows:
        headers = tuple((name, base64.b64decode(value)) for name, value in one.headers)
        record = Record(one.topic, 0, 0, one.key, one.value, headers, NOW)
        head = read_head(one.key, headers)
        found.append((head, decode(record, head, KEY)))
    return found


def timer(database: Database, handlers: Mapping[str, Handler], **options: Any) -> Timer:
    return Timer(database, Keys(), handlers, **options)


class Asked:
    """A handler that remembers what it was asked and answers as told."""

    def __init__(self, *answers: Done | Again | Exception) -> None:
        self.rows: list[Due] = []
        self._answers = list(answers)

    async def __call__(self, due: Due) -> Done | Again:
        self.rows.append(due)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


async def test_a_row_is_done_when_it_falls_due_and_never_again(
    timed: Database, clock: Clock
) -> None:
    asked = Asked(Done())
    due = row(at=NOW + timedelta(minutes=5), what="this")
    await add(timed, due)
    works = timer(timed, {"k": asked})
    assert await works.once() == 0
    clock.now += timedelta(minutes=5)
    assert await works.once() == 1
    assert (asked.rows[0].id, asked.rows[0].payload) == (due.id, {"what": "this"})
    clock.now += timedelta(days=1)
    assert await works.once() == 0
    await add(timed, due)  # the handler that asked for it runs again
    assert await works.once() == 0
    [kept] = await stored(timed)
    assert kept.done
    assert kept.keep_until == NOW + timedelta(minutes=5) + KEPT


async def test_events_follow_as_children_of_the_rows_head(timed: Database) -> None:
    parent = head()
    await add(timed, row(head=parent))
    await timer(timed, {"k": Asked(Done((FAILED, FAILED)))}).once()
    (first, event), (second, _) = await sent(timed)
    assert event == FAILED
    assert first == parent.child("job-failed", 0, JobFailed.TYPE)
    assert second.id == uuid5(parent.id, "job-failed/1")


async def test_a_kind_that_nobody_here_handles_is_left_to_others(timed: Database) -> None:
    await add(timed, row("other"))
    assert await timer(timed, {"k": Asked(Done())}).once() == 0
    assert [one.done for one in await stored(timed)] == [False]


async def test_only_who_claims_first_ends_what_waits(timed: Database) -> None:
    waiting = uuid4()
    async with timed.transaction() as tx:
        assert await claim(tx, waiting, "review")
        assert not await claim(tx, waiting, "review")
    await add(timed, row(head=head()))
    await timer(timed, {"k": Asked(Done((FAILED,), claim=waiting))}).once()
    assert await sent(timed) == []
    assert [one.done for one in await stored(timed)] == [True]


async def test_of_two_who_claim_at_once_one_wins(sql: Database) -> None:
    waiting = uuid4()

    async def decide(by: str) -> bool:
        async with sql.transaction() as tx:
            return await claim(tx, waiting, by)

    assert sorted(await asyncio.gather(*(decide(f"p{n}") for n in range(4)))) == [
        False,
        False,
        False,
        True,
    ]


async def test_a_row_may_ask_to_be_done_again_with_more_in_it(
    timed: Database, clock: Clock
) -> None:
    asked = Asked(Again(NOW + timedelta(minutes=1), {"n": 2}), Done())
    await add(timed, row(n=1))
    works = timer(timed, {"k": asked})
    await works.once()
    assert await works.once() == 0
    clock.now += timedelta(minutes=1)
    await works.once()
    assert [one.payload for one in asked.rows] == [{"n": 1}, {"n": 2}]


@pytest.mark.parametrize("trouble", [Unavailable("down"), ValueError("the user wrote: 你好")])
async def test_a_row_that_fails_is_left_alone_for_a_while_and_its_neighbours_are_done(
    timed: Database, clock: Clock, caplog: pytest.LogCaptureFixture, trouble: Exception
) -> None:
    caplog.set_level(logging.INFO)
    failing, well = Asked(trouble, trouble, Done()), Asked(Done())
    await add(timed, row("bad"), row("good"))
    works = timer(timed, {"bad": failing, "good": well})
    assert await works.once() == 2
    assert await works.once() == 0
    assert len(well.rows) == 1
    clock.now += pause(1)
    await works.once()
    clock.now += pause(2)
    await works.once()
    assert [one.tries for one in failing.rows] == [1, 2, 3]
    assert all(one.done for one in await stored(timed))
    assert "你好" not in caplog.text


def test_pauses_grow_to_an_hour() -> None:
    assert [pause(n).total_seconds() for n in (1, 2, 3, 11, 12, 400)] == [2, 4, 8, 2048, 3600, 3600]


async def test_two_processes_never_do_one_row(sql: Database, sql_settings: Settings) -> None:
    other = await open_database(sql_settings)
    asked = Asked(Done())
    await add(sql, *(row(at=sql.now()) for _ in range(60)))
    timers = [timer(sql, {"k": asked}), timer(other, {"k": asked})]
    while any(await asyncio.gather(*(works.once() for works in timers))):
        pass
    assert len(asked.rows) == 60
    assert len({one.id for one in asked.rows}) == 60
    await other.close()


async def test_the_row_of_a_process_that_died_is_done_by_another(
    timed: Database, clock: Clock
) -> None:
    begun = asyncio.Event()

    async def die(_: Due) -> Done:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    await add(timed, row(head=head()))
    dying = asyncio.create_task(timer(timed, {"k": die}).once())
    await begun.wait()
    dying.cancel()
    await asyncio.gather(dying, return_exceptions=True)
    asked = Asked(Done((FAILED,)))
    works = timer(timed, {"k": asked})
    assert await works.once() == 0
    clock.now += timedelta(minutes=1)
    assert await works.once() == 1
    assert asked.rows[0].tries == 2
    assert len(await sent(timed)) == 1


async def test_a_process_taken_for_dead_finishes_nothing(timed: Database, clock: Clock) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow(_: Due) -> Done:
        begun.set()
        await go_on.wait()
        return Done((FAILED,))

    await add(timed, row(head=head()))
    late = asyncio.create_task(timer(timed, {"k": slow}).once())
    await begun.wait()
    clock.now += timedelta(minutes=1)
    await timer(timed, {"k": Asked(Done((FAILED,)))}).once()
    go_on.set()
    await late
    assert len(await sent(timed)) == 1


async def test_long_work_keeps_its_row(sql: Database, sql_settings: Settings) -> None:
    life = timedelta(seconds=0.3)
    ran = []

    async def slow(due: Due) -> Done:
        ran.append(due)
        await asyncio.sleep(1)
        return Done()

    await add(sql, row(at=sql.now()))
    first = asyncio.create_task(timer(sql, {"k": slow}, life=life).once())
    await until(lambda: bool(ran))
    other = timer(sql, {"k": slow}, life=life)
    while not first.done():
        assert await other.once() == 0
        await asyncio.sleep(0.05)
    assert len(ran) == 1
    assert [one.done for one in await stored(sql)] == [True]


async def test_what_comes_regularly_has_one_row_for_ever(timed: Database, clock: Clock) -> None:
    asked = Asked(Done())
    hourly = {"regularly": {"r": timedelta(hours=1)}}
    for _ in range(3):  # three starts
        works = timer(timed, {"r": asked}, **hourly)
        running = asyncio.create_task(works.run())
        await until(lambda: bool(asked.rows))
        works.stop()
        await running
    assert len(asked.rows) == 1
    clock.now += timedelta(hours=1)
    await works.once()
    assert len(asked.rows) == 2
    assert len(await stored(timed)) == 1


async def test_a_row_added_in_this_process_is_done_at_once(sql: Database) -> None:
    asked = Asked(Done())
    works = timer(sql, {"k": asked}, poll=60)
    running = asyncio.create_task(works.run())
    await asyncio.sleep(0.1)  # it has looked, found nothing and rests
    await add(sql, row(at=sql.now()))
    await until(lambda: bool(asked.rows))
    works.stop()
    await running


@pytest.mark.parametrize(
    ("due", "code"),
    [
        (ageing(head(), NOW), "held_too_long"),
        (giving_up(uuid4(), head(), NOW), "stuck_too_long"),
    ],
)
async def test_what_waited_too_long_fails_unless_somebody_decided(
    timed: Database, clock: Clock, due: Due, code: str
) -> None:
    decided = Due(uuid4(), due.kind, due.at, head(), {"claim": str(uuid4())})
    await add(timed, due, decided)
    async with timed.transaction() as tx:
        await claim(tx, UUID(decided.payload["claim"]), "review")
    clock.now = due.at - timedelta(seconds=1)
    works = timer(timed, HANDLERS)
    assert await works.once() == 0
    clock.now = due.at
    assert await works.once() == 2
    [(failed, event)] = await sent(timed)
    assert (event.code, due.head is not None and failed.key == due.head.key) == (code, True)
