"""A log with a past: events of the chain, written as fast as the disk takes them.

Knows how each log lays out what it keeps. Refuses to measure. Every group stands at the end.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from itertools import cycle, islice
from pathlib import Path

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from benchmarks.pipeline.bare import handling
from benchmarks.pipeline.chain import set_up
from benchmarks.pipeline.jobs import STAGES, job
from relay.log.kafka import KafkaLog
from relay.log.port import Message
from relay.log.sqlite import SqliteLog
from relay.log.sqlite.batches import rows
from relay.log.sqlite.schema import connect
from relay.settings import Settings
from schemas.events import PromptApproved, PromptUploaded, SpeechDelivered, SpeechSynthesized
from schemas.topics import topic_of

TOPICS = [topic_of(e) for e in (PromptUploaded, PromptApproved, SpeechSynthesized, SpeechDelivered)]
_LIVES = 64
"""Jobs whose events are written again and again."""
_TOGETHER = 16
"""Events of one partition that a transaction appended, as under load."""
_AT_ONCE = 500
"""Events of one partition in a batch; the broker takes a megabyte."""


async def lives() -> dict[str, list[Message]]:
    """By topic what some jobs left there, made by the stages' own code."""
    handlers = [handling(stage()) for stage in STAGES]
    found: dict[str, list[Message]] = {topic: [] for topic in TOPICS}
    for n in range(_LIVES):
        message = job(n)
        found[TOPICS[0]].append(message)
        for topic, handle in zip(TOPICS[1:], handlers, strict=True):
            value, headers = await handle(_Consumed(message))
            message = Message(topic, message.key, value, tuple(headers))
            found[topic].append(message)
    return found


class _Consumed:
    """A message as a Kafka consumer hands it out, as far as `handling` looks."""

    partition = offset = 0

    def __init__(self, message: Message) -> None:
        self.topic, self.key = message.topic, message.key.encode()
        self.value, self.headers = message.value, message.headers


async def fill_sqlite(path: Path, events: int, partitions: int) -> None:
    """A file with `events` events, in rows as a busy writer makes them."""
    log = SqliteLog(path)
    await set_up(log, partitions)
    await log.close()
    past = [(topic, _bodies(messages)) for topic, messages in (await lives()).items()]
    with closing(connect(path)) as line:
        line.execute("pragma journal_mode = off")
        line.execute("pragma synchronous = off")
        line.execute("begin")
        for topic, bodies in past:
            for (id_,) in line.execute(_PARTITIONS, [topic]).fetchall():
                _insert(line, id_, bodies, events // (len(TOPICS) * partitions))
        line.execute(_TO_THE_END)
        line.execute("commit")
        line.execute("pragma journal_mode = wal")


def _bodies(messages: Sequence[Message]) -> list[tuple[str, bytes]]:
    """Heads and body of rows, made once: a row says where it is beside them."""
    parts = [messages[n : n + _TOGETHER] for n in range(0, len(messages), _TOGETHER)]
    return [row[-2:] for part in parts for row in rows(0, 0, 0, part)]


def _insert(
    line: sqlite3.Connection, partition: int, bodies: list[tuple[str, bytes]], events: int
) -> None:
    now = time.time_ns() // 1000
    firsts = range(0, events, _TOGETHER)
    line.executemany(
        _BATCH,
        (
            (partition, first + _TOGETHER - 1, first, now, heads, body)
            for first, (heads, body) in zip(firsts, cycle(bodies), strict=False)
        ),
    )
    line.execute(
        "update partitions set next = ? where id = ?", [len(firsts) * _TOGETHER, partition]
    )


async def fill_kafka(bootstrap: str, events: int, partitions: int) -> None:
    """A cluster with `events` events, uncompressed, several hundred in a batch."""
    log = KafkaLog(Settings(log=f"kafka://{bootstrap}"))
    await set_up(log, partitions)
    await log.close()
    past = await lives()
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap, max_batch_size=8_000_000, max_request_size=9_000_000
    )
    await producer.start()
    left = events // (len(TOPICS) * partitions)
    while left > 0:
        count = min(left, _AT_ONCE)
        for topic, messages in past.items():
            for partition in range(partitions):
                await _send(producer, TopicPartition(topic, partition), messages, count)
        left -= count
    await producer.stop()
    for stage in STAGES:
        await _to_the_end(bootstrap, stage.name, [topic_of(e) for e in stage.consumes], partitions)


async def _send(
    producer: AIOKafkaProducer, place: TopicPartition, messages: Sequence[Message], count: int
) -> None:
    batch = producer.create_batch()
    for message in islice(cycle(messages), count):
        key, headers = message.key.encode(), list(message.headers)
        batch.append(key=key, value=message.value, timestamp=None, headers=headers)
    await (await producer.send_batch(batch, place.topic, partition=place.partition))


async def _to_the_end(bootstrap: str, group: str, topics: Sequence[str], count: int) -> None:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False
    )
    await consumer.start()
    places = [TopicPartition(topic, n) for topic in topics for n in range(count)]
    consumer.assign(places)
    await consumer.commit(await consumer.end_offsets(places))
    await consumer.stop()


_PARTITIONS = """
select p.id from partitions p join topics t on t.id = p.topic where t.name = ? order by p.number
"""
_TO_THE_END = """
update claims set "offset" = (select p.next from partitions p where p.id = claims.partition)
"""
_GROWN = "update partitions set next = ? where id = ?"
_BATCH = """
insert into batches (partition, last, first, appended, heads, body) values (?, ?, ?, ?, ?, ?)
"""
