"""The view: every event becomes a row its person can read, once, whatever the order."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Table, select

from ingest import jobs
from ingest.jobs import Job
from ingest.view import View
from relay.codec import encode
from relay.errors import BadRecord
from relay.keys import KEY_BYTES, PersonKey
from relay.letters import bury, exhume
from relay.log.port import Message, Record
from relay.log.sqlite import SqliteLog
from relay.runner import Runner
from relay.sql import schema
from relay.sql.database import Database
from relay.sql.dues import HELD, STUCK
from relay.sql.open import open_database
from relay.stage import Context
from schemas.envelope import Head
from schemas.events import AudioFormat, Event
from schemas.states import State
from schemas.topics import DEAD, TOPICS, topic_of
from tests.ingest.chain import REASON, START, Chain
from tests.sql import settings_of, until

KEY = PersonKey(bytes(KEY_BYTES))


class Rings:
    """A doorbell that remembers."""

    def __init__(self) -> None:
        self.rung: list[UUID] = []

    def ring(self, job: UUID) -> None:
        self.rung.append(job)

    def listen(self, job: UUID) -> Any:
        raise NotImplementedError


@pytest.fixture
def rings() -> Rings:
    return Rings()


@pytest.fixture
def view(sql: Database, rings: Rings) -> View:
    return View(sql, rings)


@pytest.fixture
def chain() -> Chain:
    return Chain()


async def tell(view: View, chain: Chain, *events: Event) -> None:
    for event in events:
        assert await view.handle(event, chain.context(event)) == ()


async def found(sql: Database, chain: Chain) -> Job:
    async with sql.reading() as tx:
        job = await jobs.find(tx, chain.job, chain.person)
    assert job is not None
    return job


async def rows(sql: Database, table: Table) -> Sequence[Any]:
    async with sql.reading() as tx:
        return (await tx.execute(select(table).order_by(*table.primary_key))).all()


async def accept(sql: Database, chain: Chain) -> None:
    async with sql.transaction() as tx:
        await jobs.accept(
            tx,
            job=chain.job,
            person=chain.person,
            site="voxrelay://test",
            door="jobs",
            format=AudioFormat.WAV,
        )


def dead(event: Event, head: Head, group: str, offset: int = 7) -> Any:
    """The dead letter that `group` makes of `event`."""
    message = encode(event, head, KEY)
    record = Record(message.topic, 0, 3, message.key, message.value, message.headers, START)
    letter = bury(record, group, BadRecord("handler_failed", "It raised."), "1")
    lies = Record(letter.topic, 1, offset, letter.key, letter.value, letter.headers, START)
    return exhume(lies)


async def test_a_job_is_followed_from_the_door_to_its_end(
    sql: Database, view: View, rings: Rings, chain: Chain
) -> None:
    await accept(sql, chain)
    fresh = await found(sql, chain)
    assert (fresh.state, fresh.seq, fresh.ended) == (State.ACCEPTED, 0, False)
    await tell(
        view, chain, chain.uploaded(), chain.approved(), chain.synthesized(), chain.delivered()
    )
    job = await found(sql, chain)
    assert (job.state, job.seq, job.ended) == (State.DELIVERED, 4, True)
    assert job.accepted_at == fresh.accepted_at
    assert job.updated_at == max(fresh.accepted_at, START + timedelta(seconds=4))
    assert job.detail.audio == chain.audio("delivered")
    assert job.detail.recording == chain.recording
    assert job.detail.spoken is not None
    assert [step.at for step in job.detail.steps] == [
        START + timedelta(seconds=n) for n in (1, 2, 3, 4)
    ]
    assert rings.rung == [chain.job] * 4
    async with sql.reading() as tx:
        events = await jobs.events_after(tx, chain.job, 2)
    assert [(event.seq, event.state) for event in events] == [
        (3, State.SYNTHESIZED),
        (4, State.DELIVERED),
    ]
    assert events[1].payload["audio"]["key"] == chain.audio("delivered").key


async def test_a_rejected_job_says_why(sql: Database, view: View, chain: Chain) -> None:
    await tell(view, chain, chain.uploaded(), chain.rejected())
    job = await found(sql, chain)
    assert (job.state, job.detail.reasons) == (State.REJECTED, (REASON,))


async def test_a_failed_job_says_what_its_user_may_read(
    sql: Database, view: View, chain: Chain
) -> None:
    await tell(view, chain, chain.uploaded(), chain.failed())
    job = await found(sql, chain)
    assert (job.state, job.detail.code) == (State.FAILED, "too_long")
    assert job.detail.message == "Please send a shorter text."


async def test_a_job_that_this_site_did_not_accept_gets_its_row_from_the_log(
    sql: Database, view: View, chain: Chain
) -> None:
    await tell(view, chain, chain.uploaded())
    job = await found(sql, chain)
    assert (job.accepted_at, job.site, job.door) == (START, "voxrelay://test", "jobs")
    assert job.format is AudioFormat.MP3


async def test_a_second_call_for_an_event_changes_nothing_but_rings(
    sql: Database, view: View, rings: Rings, chain: Chain
) -> None:
    events = [chain.uploaded(), chain.held(), chain.reviewed(), chain.approved()]
    await tell(view, chain, *events)
    tables = (schema.jobs, schema.job_events, schema.object_refs, schema.due)
    before = [await rows(sql, table) for table in tables]
    rings.rung.clear()
    await tell(view, chain, *events, *reversed(events))
    assert [await rows(sql, table) for table in tables] == before
    assert rings.rung  # the death may have come between the commit and the ring


async def test_two_processes_that_see_a_job_at_once_count_without_holes(
    sql: Database, sql_settings: Any, view: View, rings: Rings, chain: Chain
) -> None:
    other = await open_database(sql_settings)
    views = [view, View(other, rings)]
    events = [chain.uploaded(), chain.approved(), chain.synthesized(), chain.delivered()]
    contexts = [chain.context(event) for event in events]
    await asyncio.gather(
        *(
            a_view.handle(event, context)
            for event, context in zip(events, contexts, strict=True)
            for a_view in views
        )
    )
    assert [row.seq for row in await rows(sql, schema.job_events)] == [1, 2, 3, 4]
    job = await found(sql, chain)
    assert (job.state, job.seq) == (State.DELIVERED, 4)
    await other.close()


async def test_every_object_an_event_names_gets_a_row(
    sql: Database, view: View, chain: Chain
) -> None:
    await tell(view, chain, chain.uploaded(), chain.approved(), chain.delivered())
    named = [(row.key, row.job) for row in await rows(sql, schema.object_refs)]
    assert sorted(set(named)) == sorted(
        (key, chain.job)
        for key in (
            chain.recording.key,
            f"hearing/{chain.person}/h",
            chain.audio("delivered").key,
        )
    )
    assert len(named) == 4  # the recording is named by two events


async def test_no_row_holds_a_plain_personal_value(sql: Database, view: View, chain: Chain) -> None:
    await tell(view, chain, chain.uploaded(), chain.held(), chain.rejected())
    everything = repr([await rows(sql, table) for table in schema.metadata.sorted_tables])
    assert not any(word in everything for word in ("你好", "听到的", "203.0.113"))


async def test_anothers_job_is_no_job(sql: Database, view: View, chain: Chain) -> None:
    await tell(view, chain, chain.uploaded())
    async with sql.reading() as tx:
        assert await jobs.find(tx, chain.job, uuid4()) is None
        assert await jobs.find(tx, uuid4(), chain.person) is None


async def test_a_held_prompt_is_given_a_term_once(sql: Database, view: View, chain: Chain) -> None:
    await tell(view, chain, chain.uploaded(), chain.held(), chain.held())
    [due] = await rows(sql, schema.due)
    assert (due.kind, due.done) == (HELD, False)
    assert due.at > START + timedelta(days=1)


@pytest.mark.parametrize("group", ["moderation", "synth", "delivery"])
async def test_a_dead_letter_of_the_chain_shows_its_job_stuck_and_sets_a_term(
    sql: Database, view: View, rings: Rings, chain: Chain, group: str
) -> None:
    event = chain.uploaded()
    await tell(view, chain, event)
    letter = dead(event, chain.context(event).head, group)
    await view.mourn(letter)
    await view.mourn(letter)
    job = await found(sql, chain)
    assert (job.state, job.seq) == (State.STUCK, 2)
    [due] = await rows(sql, schema.due)
    assert (due.kind, due.at) == (STUCK, START + timedelta(days=1))
    assert rings.rung[-1] == chain.job
    await tell(view, chain, chain.approved())
    assert (await found(sql, chain)).state is State.APPROVED


async def test_a_record_that_dies_again_is_another_letter(
    sql: Database, view: View, chain: Chain
) -> None:
    event = chain.uploaded()
    head = chain.context(event).head
    await view.mourn(dead(event, head, "moderation", offset=7))
    await view.mourn(dead(event, head, "moderation", offset=8))
    assert len(await rows(sql, schema.due)) == 2


@pytest.mark.parametrize("group", ["view", "analytics", ""])
async def test_a_dead_letter_of_an_onlooker_stops_no_job(
    sql: Database, view: View, chain: Chain, group: str
) -> None:
    event = chain.uploaded()
    await tell(view, chain, event)
    await view.mourn(dead(event, chain.context(event).head, group))
    assert (await found(sql, chain)).state is State.UPLOADED


async def test_a_dead_letter_without_a_readable_head_is_shown_if_somebody_waits(
    sql: Database, view: View, chain: Chain
) -> None:
    await accept(sql, chain)

    def broken(key: str) -> Any:
        record = Record("prompt-uploaded", 0, 3, key, b"{}", (), START)
        letter = bury(record, "moderation", BadRecord("envelope_invalid", "Broken."), "1")
        return exhume(Record(letter.topic, 0, 1, key, b"{}", letter.headers, START))

    await view.mourn(broken(str(chain.job)))
    assert (await found(sql, chain)).state is State.STUCK
    await view.mourn(broken(str(uuid4())))
    await view.mourn(broken("no job"))
    assert len(await rows(sql, schema.jobs)) == 1


async def test_an_event_that_belongs_to_no_job_is_a_bad_record(view: View, chain: Chain) -> None:
    event = chain.uploaded()
    context = chain.context(event)
    stray = Context(
        Head(context.head.id, event.TYPE, "s", START, chain.person, "no job"), b"", START
    )
    with pytest.raises(BadRecord, match="job_unknown"):
        await view.handle(event, stray)


@asynccontextmanager
async def _on_file(folder: Path) -> AsyncIterator[Database]:
    opened = await open_database(settings_of(folder))
    try:
        yield opened
    finally:
        await opened.close()


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
async def test_in_any_order_and_with_repeats_the_job_ends_delivered(
    tmp_path: Path, data: st.DataObject
) -> None:
    chain = Chain()
    events = [
        chain.uploaded(),
        chain.held(),
        chain.reviewed(),
        chain.approved(),
        chain.synthesized(),
        chain.delivered(),
    ]
    order = data.draw(st.permutations(events + events))
    async with _on_file(tmp_path) as sql:
        await tell(View(sql, Rings()), chain, *order)
        job = await found(sql, chain)
        assert (job.state, job.seq) == (State.DELIVERED, 6)
        assert job.detail.audio == chain.audio("delivered")


async def test_history_is_paged_newest_first_and_ones_own(sql: Database) -> None:
    person, made = uuid4(), []
    for _ in range(7):
        chain = Chain(person=person)
        await accept(sql, chain)
        made.append(chain.job)
    await accept(sql, Chain())
    cursor, seen = None, []
    for size in (3, 3, 1):
        async with sql.reading() as tx:
            page = await jobs.history(tx, person, cursor, limit=3)
        assert len(page.jobs) == size
        seen += [job.id for job in page.jobs]
        cursor = page.cursor
    assert cursor is None
    assert seen == list(reversed(made))


@pytest.mark.parametrize("cursor", ["", "x", "é", "bm8gY3Vyc29y", "fA=="])
async def test_a_cursor_that_is_not_ours_is_told_apart(sql: Database, cursor: str) -> None:
    with pytest.raises(ValueError, match="cursor"):
        async with sql.reading() as tx:
            await jobs.history(tx, uuid4(), cursor)


class NoKeys:
    async def key(self, person: UUID) -> PersonKey:
        raise AssertionError("the view opens nothing")


async def test_through_the_runner_the_view_reads_sealed_events_and_dead_letters(
    tmp_path: Path,
) -> None:
    chain, log = Chain(), SqliteLog(tmp_path / "log.db")
    names = [topic.name for topic in TOPICS]
    await log.apply(dict.fromkeys((*names, *DEAD), 2), {"view": (*names, *DEAD)}, ["test"])
    event, failed = chain.uploaded(), chain.approved()
    lies = dead(failed, chain.context(failed).head, "synth").record
    letter = Message(lies.topic, lies.key, lies.value, lies.headers)
    async with _on_file(tmp_path) as sql, log.source("test") as source:
        runner = Runner(View(sql, Rings()), log, NoKeys())
        running = asyncio.create_task(runner.run())
        message = encode(event, chain.context(event).head, KEY)
        assert message.topic == topic_of(event)
        await source.append([message, letter], 1)

        async def stuck() -> bool:
            async with sql.reading() as tx:
                job = await jobs.find(tx, chain.job, chain.person)
            return job is not None and job.state is State.STUCK and job.seq == 2

        await until(stuck, 20)
        runner.stop()
        await running
        assert await log.lag("view", (*names, *DEAD)) == 0
    await log.close()
