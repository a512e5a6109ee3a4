"""The Runner while claims go and while it stops: nothing doubled, nothing held up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from relay.errors import Unavailable
from relay.lane import Lane
from relay.log.port import Committed, Log, Message, Record
from relay.log.sqlite import SqliteLog
from relay.log.sqlite.consumer import SqliteConsumer
from relay.note import Note
from relay.runner import Limits, Runner
from relay.telemetry import Health
from relay.window import Window
from schemas.events import PromptUploaded
from schemas.topics import DEAD, TOPICS
from tests.relay.stages import Approving, Keys, uploaded
from tests.sql import until

ALL = [topic.name for topic in TOPICS] + list(DEAD)


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[SqliteLog]:
    opened = SqliteLog(tmp_path / "log.db", session=1.0)
    await opened.apply(dict.fromkeys(ALL, 2), {"approving": ["prompt-uploaded"]}, ["feed"])
    yield opened
    await opened.close()


async def feed(log: Log, messages: Sequence[Message]) -> None:
    async with log.source("feed") as source:
        await source.append(messages, source.position + len(messages))


async def answers(log: Log) -> list[str]:
    return sorted([record.key async for record in log.read(["prompt-approved"])])


async def holding(runner: Runner, lanes: int) -> None:
    """Return once `runner` holds that many partitions."""

    async def held() -> bool:
        return len(runner._lanes) >= lanes

    await until(held)


class SlowClaim:
    """Keeps what is committed, as a log does whether or not somebody still waits for it."""

    topic, partition, committed = "t", 0, Committed(0)

    def __init__(self) -> None:
        self.kept: list[Message] = []
        self.marks: list[Committed] = []
        self.begun = asyncio.Event()

    async def commit(self, mark: Committed, messages: Sequence[Message]) -> None:
        self.kept += messages
        self.marks.append(mark)
        if messages:
            self.begun.set()
            await asyncio.sleep(0.05)

    def pause(self) -> None: ...
    def resume(self) -> None: ...


async def test_a_commit_cancelled_midway_is_not_committed_again() -> None:
    """A suspect's own commit carries neighbours' answers, and a rebalance may cancel it."""
    claim = SlowClaim()
    window = Window(claim.committed, waiting=8, ahead=8)
    window.offer([Record("t", 0, 0, "job", b"", (), datetime.now(UTC))])
    lane = Lane(claim, "group", Health(), window)
    assert window.start() is None  # the first commit raises the ceiling
    await lane.commit()
    record = window.start()
    assert record is not None
    window.answer(record, [Message("out", "job", b"answer")])
    suspect = asyncio.create_task(lane.commit())
    await claim.begun.wait()
    suspect.cancel()
    await asyncio.wait([suspect])
    await lane.close()
    assert [message.value for message in claim.kept] == [b"answer"]


async def test_a_lane_at_rest_leaves_no_suspects(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or a process killed twice overnight would run the morning's first records one at a time."""
    monkeypatch.setattr("relay.lane.REST_SECONDS", 0.05)
    claim = SlowClaim()
    window = Window(claim.committed, waiting=8, ahead=8)
    lane = Lane(claim, "group", Health(), window)
    taken: list[Record] = []

    def deal() -> None:
        while (record := window.start()) is not None:
            taken.append(record)
        lane.nudge()

    lane.start(on_commit=deal, on_error=lambda error: None)
    for n in range(2):
        lane.offer([Record("t", 0, n, f"job {n}", b"", (), datetime.now(UTC))])
        deal()
        await until(lambda n=n: len(taken) == n + 1)  # type: ignore[misc]
        window.answer(taken[n], ())
        lane.nudge()
        rested = Committed(n + 1, Note(ceiling=n + 1).write(n + 1))
        await until(lambda rested=rested: claim.marks[-1] == rested)  # type: ignore[misc]
    await lane.close()


class Down(Approving):
    """Cannot work, and says so."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = asyncio.Event()

    async def check(self) -> None:
        self.asked.set()
        raise Unavailable("the model is missing")


async def test_a_stop_ends_a_runner_whose_world_is_down(log: SqliteLog) -> None:
    stage = Down()
    one = Runner(stage, log, Keys())
    task = asyncio.create_task(one.run())
    await stage.asked.wait()
    one.stop()
    async with asyncio.timeout(5):
        await task


async def test_a_stop_ends_a_runner_that_waits_for_its_claims(
    log: SqliteLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asyncio.Event()

    async def never(self: SqliteConsumer, claim: object) -> None:
        asked.set()
        raise Unavailable("the log cannot be written")

    monkeypatch.setattr(SqliteConsumer, "reclaim", never)
    one = Runner(Approving(), log, Keys(), Limits(poll=0.05))
    task = asyncio.create_task(one.run())
    await holding(one, 1)
    next(iter(one._lanes.values())).lost = True
    await asyncio.wait_for(asked.wait(), 5)
    one.stop()
    async with asyncio.timeout(5):
        await task


async def test_who_drains_stays_a_member(log: SqliteLog) -> None:
    """Another member takes nothing away from one that finishes longer than a session lasts."""
    gate, begun, again = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def slow(event: PromptUploaded) -> None:
        begun.set()
        await gate.wait()

    async def second(event: PromptUploaded) -> None:
        again.set()

    await feed(log, [uploaded(0)])
    draining = Runner(Approving(slow), log, Keys(), Limits(poll=0.05))
    task = asyncio.create_task(draining.run())
    await begun.wait()
    draining.stop()
    other = Runner(Approving(second), log, Keys(), Limits(poll=0.05))
    taking = asyncio.create_task(other.run())
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(again.wait(), 2.5)  # its session would have ended twice
    gate.set()
    await task
    other.stop()
    await taking
    assert await answers(log) == [uploaded(0).key]


async def test_a_lane_that_cannot_be_closed_keeps_no_other_from_committing(
    log: SqliteLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug in one lane's last commit ends the process, after the others were closed."""
    closed: list[tuple[str, int]] = []
    close = Lane.close

    async def fragile(self: Lane) -> None:
        closed.append(self.where)
        await close(self)
        if len(closed) == 1:
            raise LookupError("a bug")

    monkeypatch.setattr(Lane, "close", fragile)
    one = Runner(Approving(), log, Keys(), Limits(poll=0.05))
    task = asyncio.create_task(one.run())
    await holding(one, 2)
    one.stop()
    with pytest.raises(LookupError):
        await task
    assert len(closed) == 2
