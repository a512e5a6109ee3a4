"""The Runner over the embedded log: windows, failures of three kinds, draining, dying."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from relay.errors import BadRecord, Lost, Unavailable
from relay.lane import Lane
from relay.letters import DeadLetterLimit, exhume
from relay.log.port import MOST_BYTES, Claim, Committed, Log, Message, Record
from relay.log.sqlite import SqliteLog
from relay.log.sqlite.consumer import SqliteConsumer
from relay.note import Note
from relay.runner import Limits, Runner, StageBroken
from relay.stage import Context
from schemas.events import Event, JobFailed, PromptApproved, PromptUploaded
from schemas.topics import DEAD, TOPICS
from tests.relay.stages import Approving, Collector, Keys, uploaded
from tests.sql import until

ALL = [topic.name for topic in TOPICS] + list(DEAD)


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[Log]:
    opened = SqliteLog(tmp_path / "log.db")
    groups = {"approving": ["prompt-uploaded"], "collector": ["prompt-approved", "job-failed"]}
    await opened.apply(dict.fromkeys(ALL, 2), groups, ["feed"])
    yield opened
    await opened.close()


async def feed(log: Log, messages: Sequence[Message]) -> None:
    async with log.source("feed") as source:
        await source.append(messages, source.position + len(messages))


async def everything(log: Log, topic: str) -> list[Record]:
    return [record async for record in log.read([topic])]


async def committed(log: Log, note: Note) -> None:
    """Leave every partition of the group as a process that died has."""

    class Hand:
        left = 0

        async def assigned(self, claim: Claim) -> None:
            await claim.commit(Committed(0, note.write(0)), ())
            self.left += 1

        async def revoked(self, claim: Claim) -> None:
            """It committed already."""

    hand = Hand()
    consumer = await log.join("approving", ["prompt-uploaded"], hand)
    async with asyncio.timeout(20):
        while hand.left < 2:
            await consumer.poll(0.1)
    await consumer.close()


@asynccontextmanager
async def running(*runners: Runner) -> AsyncIterator[list[asyncio.Task[None]]]:
    tasks = [asyncio.create_task(runner.run()) for runner in runners]
    try:
        yield tasks
    finally:
        for runner in runners:
            runner.stop()
        await asyncio.wait(tasks, timeout=20)


def runner(
    log: Log,
    act: Callable[[PromptUploaded], Awaitable[None]] | None = None,
    *,
    in_flight: int = 8,
    keys: Keys | None = None,
    ends_jobs: bool = True,
    limit: DeadLetterLimit | None = None,
) -> Runner:
    stage = Approving(act, ends_jobs=ends_jobs) if act else Approving(ends_jobs=ends_jobs)
    limits = Limits(in_flight=in_flight, waiting=32, drain=5, poll=0.1)
    return Runner(stage, log, keys or Keys(), limits, dead_letters=limit)


async def test_a_partition_that_waits_is_told_while_others_have_work(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits, one, collector = [Unavailable("partition 1 waits")], runner(log), Collector()
    trouble, well, lines = {"group approving": "partition 1 waits"}, one.health.well, list[str]()

    def demand(_: object) -> None:
        if waits:
            raise waits[0]

    def heard(part: str, who: object = None) -> None:
        lines.append(part)
        well(part, who)

    monkeypatch.setattr(SqliteConsumer, "demand_claims", demand)
    monkeypatch.setattr(one.health, "well", heard)
    async with running(one, Runner(collector, log, Keys(), Limits(poll=0.1))):
        await until(lambda: one.health.troubles == trouble)
        await feed(log, [uploaded(n) for n in range(10)])
        await collector.wait(10)
        assert one.health.troubles == trouble
        assert "group approving" not in lines, "nor was it called well in between"
        waits.clear()
        await until(lambda: one.health.ready)


async def test_every_record_is_answered_once_and_in_jobs_own_partition(log: Log) -> None:
    collector = Collector()
    await feed(log, [uploaded(n) for n in range(100)])
    async with running(runner(log), Runner(collector, log, Keys(), Limits(poll=0.1))):
        await collector.wait(100)
    jobs = [key for key, event in collector.seen if isinstance(event, PromptApproved)]
    assert sorted(jobs) == sorted(uploaded(n).key for n in range(100))
    assert await log.lag("approving", ["prompt-uploaded"]) == 0


async def test_a_slow_record_delays_nobody_and_a_stop_waits_for_it(log: Log) -> None:
    gate = asyncio.Event()

    async def slow(event: PromptUploaded) -> None:
        if event.text == "text 0":
            await gate.wait()

    collector = Collector()
    await feed(log, [uploaded(n) for n in range(40)])
    async with running(runner(log, slow), Runner(collector, log, Keys(), Limits(poll=0.1))):
        await collector.wait(39)
        assert uploaded(0).key not in {key for key, _ in collector.seen}
        gate.set()
        await collector.wait(40)


async def test_a_stop_in_mid_window_repeats_nothing_that_was_committed(log: Log) -> None:
    gate = asyncio.Event()
    seen: list[str] = []

    async def slow(event: PromptUploaded) -> None:
        seen.append(event.text)
        if event.text == "text 0":
            await gate.wait()

    await feed(log, [uploaded(n) for n in range(20)])
    collector = Collector()
    first = runner(log, slow)
    async with running(Runner(collector, log, Keys(), Limits(poll=0.1))):
        task = asyncio.create_task(first.run())
        await collector.wait(19)
        task.cancel()  # no draining: what runs is lost
        await asyncio.wait([task])
        seen.clear()
        gate.set()
        async with running(runner(log, slow)):
            await collector.wait(20)
    assert seen == ["text 0"]
    assert len(collector.seen) == 20


async def test_a_poll_that_is_answered_takes_back_nothing_that_a_watch_has_said(log: Log) -> None:
    one, collector = runner(log), Collector()
    await feed(log, [uploaded(0)])
    async with running(one, Runner(collector, log, Keys(), Limits(poll=0.1))):
        await collector.wait(1)
        one.health.trouble("log", "no broker answers")
        await feed(log, [uploaded(1)])
        await collector.wait(2)  # fetched by a poll that was answered
        assert not one.health.ready


async def test_our_world_being_down_keeps_the_record_and_says_so(log: Log) -> None:
    tries = 0
    said: list[bool] = []

    async def down(event: PromptUploaded) -> None:
        nonlocal tries
        tries += 1
        said.append(one.health.ready)
        if tries < 4:
            raise Unavailable("the store does not answer")

    one = runner(log, down)
    collector = Collector()
    await feed(log, [uploaded(0)])
    async with running(one, Runner(collector, log, Keys(), Limits(poll=0.1))):
        await collector.wait(1)
    assert tries == 4
    assert said == [True, False, False, False]
    assert one.health.ready
    assert isinstance(collector.seen[0][1], PromptApproved)


async def test_a_record_that_waits_for_ever_after_deaths_holds_nobody_up_and_is_named(
    log: Log,
) -> None:
    """A key that is missing without a tombstone is one; its partition must go on without it."""

    async def down(event: PromptUploaded) -> None:
        if event.text == "text 0":
            raise Unavailable("the key is missing")

    await feed(log, [uploaded(n) for n in range(40)])
    await committed(log, Note(ceiling=6, deaths=2))
    one, collector = runner(log, down), Collector()
    async with running(one, Runner(collector, log, Keys(), Limits(poll=0.1))):
        await collector.wait(39)
        (waits,) = [r for r in await everything(log, "prompt-uploaded") if r.key == uploaded(0).key]
        place = f"prompt-uploaded/{waits.partition}/{waits.offset}"
        assert one.health.troubles == {"approving": f"{place}: the key is missing"}
    assert uploaded(0).key not in {key for key, _ in collector.seen}


async def test_a_stage_holds_no_more_bytes_than_it_may_however_large_the_records(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, held, most = asyncio.Event(), 0, 3_000_000
    offer = Lane.offer

    def counted(lane: Lane, records: Sequence[Record]) -> None:
        nonlocal held
        held += sum(len(r.value) for r in records if r.topic == "prompt-uploaded")
        offer(lane, records)

    async def wait(event: PromptUploaded) -> None:
        await gate.wait()

    monkeypatch.setattr(Lane, "offer", counted)
    large = [uploaded(n, text="x" * 400_000) for n in range(30)]
    lies = sum(len(message.value) for message in large)
    await feed(log, large)
    limits = Limits(in_flight=4, waiting_bytes=most, poll=0.1)
    one, collector = Runner(Approving(wait), log, Keys(), limits), Collector()
    async with running(one, Runner(collector, log, Keys(), Limits(poll=0.1))):
        await until(lambda: all(lane.window.full for lane in one._lanes.values()) and held > most)
        assert held < 2 * (most + 2_000_000) < lies, "two partitions, and a fetch more of each"
        gate.set()
        await collector.wait(30, 60)
    assert held == lies


async def test_a_bad_record_ends_its_job_with_its_code(log: Log) -> None:
    async def refuse(event: PromptUploaded) -> None:
        raise BadRecord("audio_unreadable", "Please record again.")

    collector = Collector()
    await feed(log, [uploaded(0)])
    async with running(runner(log, refuse), Runner(collector, log, Keys(), Limits(poll=0.1))):
        await collector.wait(1)
    (job, event) = collector.seen[0]
    assert isinstance(event, JobFailed)
    assert (job, event.code, event.stage) == (uploaded(0).key, "audio_unreadable", "approving")
    assert await everything(log, "prompt-uploaded-dead") == []


@pytest.mark.parametrize("ends_jobs", [True, False])
async def test_an_answer_that_no_log_takes_makes_its_record_a_bad_one(
    log: Log, ends_jobs: bool
) -> None:
    """Known before the commit, which would be refused again and again."""
    large = uploaded(0, text="x" * 650_000)  # as it is sealed: its own event has room, barely
    assert large.size < MOST_BYTES

    class Twice(Approving):
        async def handle(self, event: Event, context: Context) -> Sequence[Event]:
            (answer,) = await super().handle(event, context)
            assert isinstance(answer, PromptApproved)
            return (answer.model_copy(update={"transcript": answer.text}),)

    stage = Twice(ends_jobs=ends_jobs)
    await feed(log, [large, uploaded(1)])
    collector = Collector()
    async with running(
        Runner(stage, log, Keys(), Limits(poll=0.1)),
        Runner(collector, log, Keys(), Limits(poll=0.1)),
    ):
        await collector.wait(2 if ends_jobs else 1)
    said = dict(collector.seen)
    assert isinstance(said[uploaded(1).key], PromptApproved)
    letters = [exhume(record) for record in await everything(log, "prompt-uploaded-dead")]
    if ends_jobs:
        failed = said[large.key]
        assert isinstance(failed, JobFailed)
        assert failed.code == "answer_too_large"
        assert letters == []
    else:
        assert [(letter.key, letter.code) for letter in letters] == [
            (large.key, "answer_too_large")
        ]


@pytest.mark.parametrize("value", [b"not json", b"{}", b"\xff\xfe"])
async def test_an_undecodable_record_ends_its_job_where_a_user_waits(
    log: Log, value: bytes
) -> None:
    good = uploaded(0)
    await feed(log, [Message(good.topic, good.key, value, good.headers)])
    collector = Collector()
    async with running(runner(log), Runner(collector, log, Keys(), Limits(poll=0.1))):
        await collector.wait(1)
    assert isinstance(collector.seen[0][1], JobFailed)


async def test_a_record_without_an_envelope_becomes_a_dead_letter_untouched(log: Log) -> None:
    bare = Message("prompt-uploaded", "somebody", b"\x00\x01", (("x", b"y"),))
    await feed(log, [bare, uploaded(1)])
    collector = Collector()
    async with running(runner(log), Runner(collector, log, Keys(), Limits(poll=0.1))):
        await collector.wait(1)
    (dead,) = await everything(log, "prompt-uploaded-dead")
    assert (dead.key, dead.value, dead.headers[0]) == ("somebody", b"\x00\x01", ("x", b"y"))
    letter = exhume(dead)
    assert (letter.group, letter.code, letter.topic) == (
        "approving",
        "envelope_invalid",
        "prompt-uploaded",
    )


async def test_an_erased_persons_job_ends_without_its_handler(log: Log) -> None:
    person = uuid4()
    handled: list[str] = []

    async def note(event: PromptUploaded) -> None:
        handled.append(event.text)

    await feed(log, [uploaded(0, person=person)])
    collector = Collector()
    keys = Keys(person)
    async with running(
        runner(log, note, keys=keys), Runner(collector, log, keys, Limits(poll=0.1))
    ):
        await collector.wait(1)
    event = collector.seen[0][1]
    assert isinstance(event, JobFailed)
    assert event.code == "erased"
    assert handled == []


async def test_a_bug_ends_the_process_while_its_neighbours_are_committed(log: Log) -> None:
    async def buggy(event: PromptUploaded) -> None:
        if event.text == "text 3":
            raise ZeroDivisionError("a bug, quoting what the user wrote")

    await feed(log, [uploaded(n) for n in range(8)])
    with pytest.raises(StageBroken, match="ZeroDivisionError"):
        await asyncio.wait_for(runner(log, buggy, in_flight=8).run(), 20)
    done = {record.key for record in await everything(log, "prompt-approved")}
    assert uploaded(3).key not in done
    assert done, "neighbours in flight were committed"


async def test_what_only_a_new_process_can_reach_ends_this_one_and_is_no_records_fault(
    log: Log,
) -> None:
    async def lost(event: PromptUploaded) -> None:
        raise Lost("the device did not come back")

    await feed(log, [uploaded(n) for n in range(4)])
    for _ in range(4):  # a bug would have been buried by now
        with pytest.raises(StageBroken, match="did not come back"):
            await asyncio.wait_for(runner(log, lost).run(), 20)
    collector = Collector()
    async with running(runner(log), Runner(collector, log, Keys(), Limits(poll=0.1))):
        await collector.wait(4)
    assert not await everything(log, "prompt-uploaded-dead")


async def test_a_record_that_raises_three_times_is_buried_and_the_rest_is_answered(
    log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    async def buggy(event: PromptUploaded) -> None:
        if event.text == "secret words":
            raise ValueError(event.text)

    await feed(log, [uploaded(n, text="secret words" if n == 3 else None) for n in range(8)])
    exits = 0
    collector = Collector()
    async with running(Runner(collector, log, Keys(), Limits(poll=0.1))):
        while exits < 3:
            with pytest.raises(StageBroken):
                await asyncio.wait_for(runner(log, buggy).run(), 20)
            exits += 1
        async with running(runner(log, buggy)):
            await collector.wait(7)
            async with asyncio.timeout(20):
                async for record in log.read(["prompt-uploaded-dead"], follow=True):
                    assert record.key == uploaded(3).key
                    assert exhume(record).code == "handler_failed"
                    break
    assert len(collector.seen) == 7
    assert "secret words" not in caplog.text


async def test_a_stage_that_buries_everything_stops(log: Log) -> None:
    await feed(log, [Message("prompt-uploaded", str(n), b"", ()) for n in range(30)])
    with pytest.raises(StageBroken, match="dead letter"):
        await asyncio.wait_for(runner(log, limit=DeadLetterLimit(run=10)).run(), 20)


async def test_a_redriven_record_is_handled_by_the_group_it_names_alone(log: Log) -> None:
    def redriven(n: int, group: bytes) -> Message:
        plain = uploaded(n)
        headers = (*plain.headers, ("redrive_group", group))
        return Message(plain.topic, plain.key, plain.value, headers)

    await feed(log, [redriven(0, b"other"), redriven(1, b"approving")])
    collector = Collector()
    async with running(runner(log), Runner(collector, log, Keys(), Limits(poll=0.1))):
        await collector.wait(1)
    assert [key for key, _ in collector.seen] == [uploaded(1).key]
    assert await log.lag("approving", ["prompt-uploaded"]) == 0


async def test_two_members_share_the_work_and_one_takes_over_from_the_other(log: Log) -> None:
    gate = asyncio.Event()

    async def hold(event: PromptUploaded) -> None:
        await gate.wait()

    first, second = runner(log, hold), runner(log)
    collector = Collector()
    await feed(log, [uploaded(n) for n in range(40)])
    async with running(Runner(collector, log, Keys(), Limits(poll=0.1))):
        task = asyncio.create_task(first.run())
        other = asyncio.create_task(second.run())
        task.cancel()
        await asyncio.wait([task])
        await collector.wait(40)
        second.stop()
        await asyncio.wait_for(other, 20)
    assert len({key for key, _ in collector.seen}) == 40 == len(collector.seen)


async def test_a_stop_is_heeded_while_our_world_is_down(log: Log) -> None:
    class Down(Approving):
        async def check(self) -> None:
            asked.set()
            raise Unavailable("the device is gone")

    asked = asyncio.Event()
    one = Runner(Down(), log, Keys(), Limits(poll=0.1))
    running_ = asyncio.create_task(one.run())
    await asyncio.wait_for(asked.wait(), 20)
    assert not running_.done()
    one.stop()
    await asyncio.wait_for(running_, 5)
