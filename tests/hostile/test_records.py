"""Records that are no events, in every topic: no stage exits, and no neighbour is lost."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer
from sqlalchemy import select

from audit import dead
from delivery.stage import Delivery
from infra.servers import ToolMissing, kafka
from infra.topics import apply, groups
from ingest.jobs import Detail
from ingest.view import View
from moderation.policy import load_policy
from moderation.settings import ModerationSettings
from moderation.stage import Moderation
from relay.codec import decode, encode, head_of
from relay.doorbell import open_doorbell
from relay.errors import BadRecord
from relay.letters import DeadLetterLimit, exhume
from relay.log.port import Message, Record
from relay.runner import Limits, Runner
from relay.settings import Settings
from relay.spine import Spine, open_spine
from relay.sql.schema import jobs
from schemas.envelope import Head
from schemas.events import PromptUploaded, Recording
from schemas.states import State
from schemas.topics import DEAD, TOPICS
from synth.stage import Synth
from tests.faults.stage import StandInEar, StandInVoice
from tests.hostile.records import Person, harmed, letters
from tests.journeys.steps import recording
from tests.servers import unavailable

PATIENCE = 120.0
INNOCENTS = 12
_NOW = datetime(2026, 1, 1, tzinfo=UTC)
OTHERS: Mapping[str, tuple[bytes | None, bytes | None, int | None]] = {
    "no key": (None, b"1", None),
    "an empty key": (b"", b"2", None),
    "a key that is no text": (b"\xff\xfe", b"3", None),
    "no value": (b"\xfe", None, None),
    "at the beginning of time": (b"first", b"4", 0),
    "long after its end": (b"last", b"5", 2**62),
}
"""Key, value and time of records that no `Message` can be."""
NO_LIMIT = DeadLetterLimit(run=10**9, ratio=1.0)


@dataclass
class Relay:
    """Every stage over one spine, with stand-in models, as `voxrelay up` runs them."""

    spine: Spine
    running: list[asyncio.Task[None]]

    async def feed(self, messages: list[Message]) -> None:
        """Append as a source does, whatever it is."""
        async with self.spine.log.source("outbox-0") as source:
            await source.append(messages, source.position + 1)

    async def quiet(self) -> None:
        """Return once every group has answered everything; a stage that ended is an error."""
        async with asyncio.timeout(PATIENCE):
            while True:
                for task in self.running:
                    if task.done():
                        task.result()
                        raise AssertionError("a stage ended")
                lags = [await self.spine.log.lag(g, topics) for g, topics in groups().items()]
                if not any(lags):
                    return
                await asyncio.sleep(0.1)


@asynccontextmanager
async def relay(given: Settings) -> AsyncIterator[Relay]:
    async with AsyncExitStack() as stack:
        spine = await stack.enter_async_context(open_spine(given))
        await apply(spine.log, given)
        doorbell = await stack.enter_async_context(open_doorbell(given, spine.database))
        policy = load_policy(ModerationSettings().policy)
        stages = (
            View(spine.database, doorbell),
            Moderation(StandInEar(), policy, spine.store),
            Synth(StandInVoice(), spine.store),
            Delivery(spine.store, producer="test", kbps=64),
        )
        limits = Limits(in_flight=8)
        runners = [
            Runner(stage, spine.log, spine.keys, limits, dead_letters=NO_LIMIT) for stage in stages
        ]
        running = [asyncio.create_task(runner.run()) for runner in runners]
        try:
            yield Relay(spine, running)
        finally:
            for runner in runners:
                runner.stop()
            await asyncio.gather(*running, return_exceptions=True)


async def person(spine: Spine) -> Person:
    id_ = uuid4()
    async with spine.database.transaction() as tx:
        return Person(id_, await spine.keys.create(tx, id_))


async def innocent(spine: Spine, whose: Person) -> Message:
    """A prompt that has to be delivered."""
    sound = recording()
    key = f"recording/{whose.id}/{uuid4().hex}"
    await spine.store.put(key, sound, "audio/flac")
    event = PromptUploaded(
        text="你好。",
        recording=Recording(
            key=key, sha256="00", seconds=2, sample_rate=16_000, container="flac", codec="flac"
        ),
        door="jobs",
    )
    now = spine.database.now()
    head = Head(uuid4(), event.TYPE, "voxrelay://test", now, whose.id, str(uuid4()))
    return encode(event, head, whose.key)


async def states(spine: Spine) -> dict[str, str]:
    """State of each job by its id; each one's detail can be read."""
    async with spine.database.reading() as tx:
        rows = (await tx.execute(select(jobs))).all()
    for row in rows:
        Detail.model_validate(row.detail)
    return {str(row.id): row.state for row in rows}


@pytest.fixture(params=["sqlite", "postgresql", "kafka"])
def given(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    """The embedded log with the job view in each database, and a broker of our own."""
    on: dict[str, Any] = {"data": tmp_path, "master_key_file": _master(tmp_path)}
    if request.param != "sqlite":
        on["sql"] = request.getfixturevalue("database")
    if request.param != "kafka":
        yield Settings(**on)
        return
    try:
        broker = kafka(tmp_path / "kafka")
    except ToolMissing as lacking:
        unavailable(str(lacking))
    with broker:
        yield Settings(**on, log=f"kafka://{broker.bootstrap}", partitions=2)


def _master(data: Path) -> Path:
    file = data / "master.key"
    file.touch(mode=0o600)
    file.write_text("5e" * 32)
    return file


@pytest.mark.timeout(400)
async def test_no_record_stops_a_stage_or_a_neighbour(given: Settings) -> None:
    async with relay(given) as house:
        whose, other = await person(house.spine), await person(house.spine)
        draw = Random(1)
        bad = [*harmed(draw, whose, other)]
        good = [await innocent(house.spine, whose) for _ in range(INNOCENTS)]
        mixed = [message for _, message in bad] + good + [*letters(draw)]
        draw.shuffle(mixed)
        for at in range(0, len(mixed), 64):
            await house.feed(mixed[at : at + 64])
        if given.log != "sqlite":
            bad += [each async for each in _fed_by_others(given.log)]
        await house.quiet()
        await _each_told_once(house.spine, bad)
        known = await states(house.spine)
        assert {known[message.key] for message in good} == {State.DELIVERED}
        await _readable(house.spine)


async def _fed_by_others(log: str) -> AsyncIterator[tuple[str, Message]]:
    """Into every topic, by a client that is not ours: no key or no value, its own time."""
    producer = AIOKafkaProducer(bootstrap_servers=log.removeprefix("kafka://"))
    await producer.start()
    try:
        for topic in (*(topic.name for topic in TOPICS if not topic.compacted), *DEAD):
            for name, (key, value, time) in OTHERS.items():
                await producer.send_and_wait(topic, value, key, None, time, headers=[("", b"")])
                text = (key or b"").decode(errors="surrogateescape")
                yield f"{topic}: {name}", Message(topic, text, value or b"", ())
    finally:
        await producer.stop()


async def _each_told_once(spine: Spine, bad: list[tuple[str, Message]]) -> None:
    """Each group buries a record once at most; and what cannot be read is buried, or ends a job."""
    records = [record async for record in spine.log.read(list(DEAD))]
    buried = Counter((r.topic, r.key, r.value, exhume(r).group) for r in records)
    assert max(buried.values()) == 1
    dead_values = {(record.key, record.value) for record in records}
    for name, message in bad:
        if not _readable_event(message):
            assert (message.key, message.value) in dead_values, name


def _readable_event(message: Message) -> bool:
    """Whether the view, which opens no seal, can make something of it."""
    record = Record(message.topic, 0, 0, message.key, message.value, message.headers, _NOW)
    try:
        decode(record, head_of(record), None)
    except BadRecord:
        return False
    return True


async def _readable(spine: Spine) -> None:
    """`voxrelay audit dead list` and `show` can print every letter, on any terminal."""
    count = 0
    async for found in dead.waiting(spine):
        count += 1
        listed = json.dumps(found.told(), ensure_ascii=False)
        assert listed.isprintable()
        shown = json.dumps({**found.told(), "payload": found.payload()}, ensure_ascii=False)
        json.loads(shown.encode(), parse_constant=_refuse)
    assert count > 100


def _refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")
