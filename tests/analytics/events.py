"""Records by the thousand: the examples of every event, each with a job, a time and a fate."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID
from zlib import crc32

from analytics.definitions import TOPICS, fact
from analytics.rows import Row, Where, grown, windows
from relay.codec import encode
from relay.log.port import Log, Message, Record
from schemas.envelope import Cause, Head
from schemas.events import AFTERWARDS, EVENTS
from schemas.topics import topic_of
from tests.schemas.make_examples import EXAMPLES, KEY, PERSON

_KINDS = [event for event in EXAMPLES.values() if isinstance(event, (*EVENTS, *AFTERWARDS))]
_ANSWERED = {
    "prompt-approved": "prompt-uploaded",
    "prompt-rejected": "prompt-uploaded",
    "prompt-held": "prompt-uploaded",
    "speech-synthesized": "prompt-approved",
    "speech-delivered": "speech-synthesized",
    "job-failed": "prompt-approved",
}
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def messages(count: int, seed: int = 1, now: datetime = NOW) -> list[Message]:
    """Events as they come: of all kinds, most of the last hours, some of long ago."""
    draw = random.Random(seed)
    return [_message(draw, now) for _ in range(count)]


def _message(draw: random.Random, now: datetime) -> Message:
    event = draw.choice(_KINDS)
    late = timedelta(days=draw.randrange(90)) if draw.random() < 0.1 else timedelta()
    time = now - late - timedelta(seconds=draw.randrange(20_000))
    job = UUID(int=draw.getrandbits(128), version=4)
    topic = _ANSWERED.get(topic_of(event))
    cause = Cause(topic, now - timedelta(seconds=5)) if topic else None
    head = Head(job, event.TYPE, "voxrelay://test", time, PERSON, str(job), cause=cause)
    return encode(event, head, KEY)


def records(sent: Sequence[Message], partitions: int = 2, now: datetime = NOW) -> Iterator[Record]:
    """`sent` as a log would give them back."""
    offsets: dict[tuple[str, int], int] = {}
    for n, each in enumerate(sent):
        place = each.topic, crc32(each.key.encode()) % partitions
        offsets[place] = offset = offsets.get(place, -1) + 1 + n % 2  # holes, as markers leave
        appended = now + timedelta(seconds=n)
        yield Record(*place, offset, each.key, each.value, each.headers, appended)


def counted(records: Iterable[Record], rows: dict[Where, Row] | None = None) -> dict[Where, Row]:
    """The rows that `records` make, in that order; `rows` are added to."""
    rows = {} if rows is None else rows
    for record in records:
        said = fact(record)
        for where, start in windows((record.topic, record.partition), said.at):
            if after := grown(rows.get(where), said, record.offset, start):
                rows[where] = after
    return rows


async def recount(log: Log) -> dict[Where, Row]:
    """The rows as one pass over the topics makes them."""
    return counted([record async for record in log.read(TOPICS)])


async def append(log: Log, sent: Sequence[Message]) -> None:
    """Put them on a log."""
    async with log.source("outbox-0") as source:
        for start in range(0, len(sent), 200):
            await source.append(sent[start : start + 200], source.position + 1)
