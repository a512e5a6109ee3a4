"""What waits for a person, on the embedded parts: seen once, decided once, by whoever is first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from audit import dead, held
from infra.topics import apply
from ingest.ending import HANDLERS, giving_up
from ingest.view import View
from relay.codec import decode, encode, head_of
from relay.doorbell import open_doorbell
from relay.errors import BadRecord
from relay.letters import REDRIVE, TIMES, bury, meant_for
from relay.log.port import LONGEST, Message, Record
from relay.outbox import Outbox
from relay.runner import Runner
from relay.settings import Settings
from relay.spine import Spine, open_spine
from relay.sql.database import Transaction
from relay.sql.dues import schedule
from relay.sql.schema import jobs
from relay.timer import Timer
from schemas.envelope import Head
from schemas.events import JobFailed, PromptHeld, PromptReviewed, PromptUploaded
from schemas.topics import topic_of
from tests.schemas.make_examples import EXAMPLES
from voxrelay.audit import _held_rows

BY = "somebody"


@pytest.fixture
async def spine(tmp_path: Path) -> AsyncIterator[Spine]:
    async with open_spine(Settings(data=tmp_path)) as opened:
        await apply(opened.log, opened.settings)
        yield opened


async def head(spine: Spine, type_: str) -> Head:
    person = uuid4()
    async with spine.database.transaction() as tx:
        await spine.keys.create(tx, person)
    return Head(uuid4(), type_, "voxrelay://test", datetime.now(UTC), person, str(uuid4()))


async def feed(spine: Spine, messages: Sequence[Message]) -> None:
    async with spine.log.source("outbox-0") as source:
        await source.append(messages, source.position)


async def hold(spine: Spine) -> Head:
    """A held prompt on the log."""
    event = EXAMPLES["held"]
    at = await head(spine, event.TYPE)
    await feed(spine, [encode(event, at, await spine.keys.key(at.person))])
    return at


async def kill(spine: Spine, headers: bool = True, group: str = "moderation") -> Message:
    """A dead letter on the log; the record it was."""
    event = EXAMPLES["plain"]
    at = await head(spine, event.TYPE)
    was = encode(event, at, await spine.keys.key(at.person))
    if not headers:
        was = Message(was.topic, was.key, was.value, ())
    record = Record(was.topic, 1, 7, was.key, was.value, was.headers, datetime.now(UTC))
    await feed(spine, [bury(record, group, BadRecord("handler_failed", "x"), "9")])
    return was


async def published(spine: Spine, topic: str, count: int) -> list[Record]:
    """What the outbox brings to `topic`, once there are `count`, and nothing after them."""
    outbox = Outbox(spine.database, spine.log, spine.health)
    running = asyncio.create_task(outbox.run())
    found: list[Record] = []
    async with asyncio.timeout(20):
        async for record in spine.log.read([topic], follow=True):
            found.append(record)
            if len(found) == count:
                break
    outbox.stop()
    await running
    again = [record async for record in spine.log.read([topic])]
    assert again == found
    return found


async def ids(spine: Spine) -> list[UUID]:
    return [found.id async for found in dead.waiting(spine)]


@pytest.mark.parametrize("approved", [True, False])
async def test_a_review_repeats_what_was_held_sealed_under_its_own_id(
    spine: Spine, approved: bool
) -> None:
    at = await hold(spine)
    (waits,) = [found async for found in held.waiting(spine)]
    assert waits.job == at.key
    assert await held.review(spine, at.key, BY, approved=approved, note="n")
    (record,) = await published(spine, topic_of(PromptReviewed), 1)
    reviewed = head_of(record)
    event = decode(record, reviewed, await spine.keys.key(at.person))
    assert isinstance(event, PromptReviewed)
    assert (event.approved, event.reviewer, event.note) == (approved, BY, "n")
    was = EXAMPLES["held"]
    assert isinstance(was, PromptHeld)
    assert (event.text, event.transcript) == (was.text, was.transcript)
    assert (reviewed.key, reviewed.time) == (at.key, at.time)
    assert reviewed.id != at.id


async def test_what_waits_tells_when_it_ends_by_itself_and_a_setting_says_after_how_long(
    spine: Spine, tmp_path: Path
) -> None:
    at = await hold(spine)
    (before,) = [found async for found in held.waiting(spine)]
    assert before.until is None, "the view has not come to it"
    async with open_doorbell(spine.settings, spine.database) as doorbell:
        view = View(spine.database, doorbell, held_for=timedelta(hours=1))
        runner = Runner(view, spine.log, spine.keys)
        working = asyncio.create_task(runner.run())
        async with asyncio.timeout(60):
            while True:
                (waits,) = [found async for found in held.waiting(spine)]
                if waits.until is not None:
                    break
                await asyncio.sleep(0.05)
        runner.stop()
        await working
    assert waits.until - waits.since == timedelta(hours=1)
    assert waits.job == at.key
    (row,) = await _held_rows(spine)
    assert row["until"] == waits.until.isoformat()
    assert 0 <= row["age_seconds"] < 3600


async def test_of_two_reviewers_the_first_decides(spine: Spine) -> None:
    at = await hold(spine)
    said = await asyncio.gather(
        *(held.review(spine, at.key, f"p{n}", approved=n == 0, note=None) for n in range(2))
    )
    assert sorted(said) == [False, True]
    assert [found async for found in held.waiting(spine)] == []
    assert not await held.review(spine, at.key, BY, approved=True, note=None)
    await published(spine, topic_of(PromptReviewed), 1)


async def test_an_erased_persons_prompt_is_seen_as_a_hole_and_cannot_be_approved(
    spine: Spine,
) -> None:
    at = await hold(spine)
    async with spine.database.transaction() as tx:
        await spine.keys.destroy(tx, at.person)
    (waits,) = [found async for found in held.waiting(spine)]
    assert waits.prompt is None
    assert not await held.review(spine, at.key, BY, approved=True, note=None)


async def test_a_redriven_record_keeps_its_bytes_and_is_meant_for_its_group(spine: Spine) -> None:
    was = await kill(spine)
    (letter,) = [found async for found in dead.waiting(spine)]
    assert letter.told()["code"] == "handler_failed"
    assert letter.told()["code_version"] == "9"
    assert await dead.redrive(spine, lambda found: True, BY) == 1
    assert await dead.redrive(spine, lambda found: True, BY) == 0
    (record,) = await published(spine, topic_of(PromptUploaded), 1)
    assert (record.key, record.value) == (was.key, was.value)
    assert record.headers == (*was.headers, (REDRIVE, b"moderation"), (TIMES, b"1"))
    assert meant_for(record, "moderation")
    assert not meant_for(record, "view")
    assert await ids(spine) == []


async def test_a_discarded_letters_job_ends_as_failed(spine: Spine) -> None:
    was = await kill(spine)
    assert await dead.discard(spine, lambda found: True, BY) == 1
    (record,) = await published(spine, topic_of(JobFailed), 1)
    event = decode(record, head_of(record), None)
    assert isinstance(event, JobFailed)
    assert (record.key, event.code) == (was.key, "discarded")


async def test_only_the_chosen_letters_are_touched(spine: Spine) -> None:
    await kill(spine)
    await kill(spine)
    first, second = await ids(spine)
    assert await dead.discard(spine, lambda found: found.id == second, BY) == 1
    assert await ids(spine) == [first]


async def test_a_letter_without_an_envelope_can_be_given_up(spine: Spine) -> None:
    await kill(spine, headers=False)
    assert await dead.discard(spine, lambda found: True, BY) == 1
    assert await ids(spine) == []


async def test_a_job_in_a_letter_without_an_envelope_ends_if_it_is_known(spine: Spine) -> None:
    was = await kill(spine, headers=False)
    now = datetime.now(UTC)
    row = {
        "id": UUID(was.key),
        "person": uuid4(),
        "site": "voxrelay://test",
        "state": "stuck",
        "rank": 15,
        "seq": 1,
        "accepted_at": now,
        "updated_at": now,
        "detail": {},
    }
    async with spine.database.transaction() as tx:
        await tx.insert_absent(jobs, row)
    assert await dead.discard(spine, lambda found: True, BY) == 1
    (record,) = await published(spine, topic_of(JobFailed), 1)
    assert record.key == was.key
    assert head_of(record).person == row["person"]


async def test_a_letter_that_no_job_waits_for_is_given_up_without_ending_one(spine: Spine) -> None:
    """What the view could not read does not keep a recording from being made."""
    await kill(spine, group="view")
    was = await kill(spine)
    assert await dead.discard(spine, lambda found: True, BY) == 2
    (record,) = await published(spine, topic_of(JobFailed), 1)
    assert record.key == was.key


async def test_how_often_a_record_died_is_told(spine: Spine) -> None:
    await kill(spine)
    for times in (1, 2):
        (letter,) = [found async for found in dead.waiting(spine)]
        assert letter.told()["times"] == times
        assert letter.told()["place"] == "1/7"
        assert await dead.redrive(spine, dead.Filter(group="moderation"), BY) == 1
        record = (await published(spine, topic_of(PromptUploaded), times))[-1]
        died = Record(record.topic, 1, 7, record.key, record.value, record.headers, record.appended)
        await feed(spine, [bury(died, "moderation", BadRecord("handler_failed", "x"), "9")])


async def test_personal_fields_are_opened_for_who_asks_and_stay_sealed_else(spine: Spine) -> None:
    await kill(spine)
    (letter,) = [found async for found in dead.waiting(spine)]
    was = EXAMPLES["plain"]
    assert isinstance(was, PromptUploaded)
    assert letter.payload()["text"].keys() == {"sealed"}
    opened = await dead.payload(spine, letter)
    assert (opened["text"], opened["door"]) == (was.text, was.door)
    async with spine.database.transaction() as tx:
        await spine.keys.destroy(tx, head_of(letter.letter.record).person)
    assert (await dead.payload(spine, letter))["text"] == {"erased": True}


async def test_a_letter_without_an_envelope_is_shown_as_it_lies(spine: Spine) -> None:
    await kill(spine, headers=False)
    (letter,) = [found async for found in dead.waiting(spine)]
    assert await dead.payload(spine, letter) == letter.payload()


async def test_a_letter_that_could_not_hold_its_record_is_not_redriven(spine: Spine) -> None:
    large = Record("prompt-uploaded", 0, 3, "j", b"x" * LONGEST, (), datetime.now(UTC))
    await feed(spine, [bury(large, "moderation", BadRecord("event_not_json", "x"), "9")])
    (letter,) = [found async for found in dead.waiting(spine)]
    assert letter.told()["cut"]
    assert await dead.redrive(spine, dead.every, BY) == 0
    assert await dead.discard(spine, dead.every, BY) == 1


@pytest.mark.parametrize(
    ("chosen", "count"),
    [
        (dead.Filter(), 3),
        (dead.Filter(group="view"), 1),
        (dead.Filter(group="moderation", code="handler_failed"), 2),
        (dead.Filter(code="other"), 0),
        (dead.Filter(topic="prompt-held"), 0),
        (dead.Filter(job="nobody's"), 0),
    ],
)
async def test_letters_are_chosen_by_what_is_told_of_them(
    spine: Spine, chosen: dead.Filter, count: int
) -> None:
    for group in ("moderation", "view", "moderation"):
        await kill(spine, group=group)
    assert len([found async for found in dead.waiting(spine, chosen)]) == count


async def test_of_a_redrive_and_the_timer_the_first_ends_what_waits(spine: Spine) -> None:
    """A stuck job is redriven, discarded, or failed a day later: one of them."""
    await kill(spine)
    await kill(spine)
    first, second = [found async for found in dead.waiting(spine)]
    since = datetime.now(UTC) - timedelta(days=2)
    await dead.redrive(spine, dead.Filter(str(first.id)), BY)
    async with spine.database.transaction() as tx:
        for found in (first, second):
            await schedule(tx, giving_up(found.id, head_of(found.letter.record), since))
    await Timer(spine.database, spine.keys, HANDLERS, spine.health).once()
    assert await dead.redrive(spine, dead.every, BY) == 0
    (failed,) = await published(spine, topic_of(JobFailed), 1)
    (again,) = await published(spine, topic_of(PromptUploaded), 1)
    assert failed.key == second.letter.key
    assert again.key == first.letter.key


async def test_many_are_redriven_once_each_although_the_command_died_in_the_middle(
    spine: Spine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Page by page, so that memory does not grow with how many there are."""
    count, page = 90, 20
    monkeypatch.setattr(dead, "_PAGE", page)
    why, now = BadRecord("event_not_json", "x"), datetime.now(UTC)
    lost = [Record("prompt-uploaded", 0, n, f"job {n}", b"x", (), now) for n in range(count)]
    await feed(spine, [bury(record, "moderation", why, "9") for record in lost])
    enqueued, enqueue = 0, dead.enqueue

    async def dying(tx: Transaction, messages: Sequence[Message]) -> None:
        nonlocal enqueued
        enqueued += 1
        if enqueued == 2 * page + 3:
            raise InterruptedError("killed")
        await enqueue(tx, messages)

    monkeypatch.setattr(dead, "enqueue", dying)
    with pytest.raises(InterruptedError):
        await dead.redrive(spine, dead.every, BY)
    assert await dead.redrive(spine, dead.every, BY) == count - 2 * page
    sent = await published(spine, topic_of(PromptUploaded), count)
    assert len({record.key for record in sent}) == count
    assert await ids(spine) == []


@pytest.mark.parametrize("headers", [True, False])
async def test_a_broken_held_prompt_hides_no_other(spine: Spine, headers: bool) -> None:
    event = EXAMPLES["held"]
    broken = await head(spine, event.TYPE)
    message = Message(topic_of(PromptHeld), broken.key, b"{", broken.headers() if headers else ())
    await feed(spine, [message])
    at = await hold(spine)
    assert await held.review(spine, at.key, BY, approved=True, note=None)
    assert not await held.review(spine, broken.key, BY, approved=True, note=None)
