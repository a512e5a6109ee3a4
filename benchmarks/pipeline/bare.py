"""The chains to compare with: plain aiokafka, at least once; a crash repeats work.

Each hop sends what a poll gave, awaits the acknowledgements (`acks=all`), then commits offsets. One
kind passes bytes on; the other opens, handles and seals every event as our stages do, one after
another in its loop. Neither has windows, transactions, fences, retries or metrics.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain, pairwise
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from benchmarks.pipeline.jobs import BenchKeys
from relay.answer import Answerer
from relay.log.port import Message, Record
from relay.stage import Stage
from relay.telemetry import Health
from schemas.events import BY_TYPE
from schemas.topics import topic_of

Handle = Callable[[Any], Awaitable[tuple[bytes, list[tuple[str, bytes]]]]]
"""From a consumed record to the value and headers of the one that answers it."""


@dataclass(slots=True)
class BareChain:
    """The ends of the chain."""

    producer: AIOKafkaProducer
    reader: AIOKafkaConsumer
    first: str

    async def append(self, messages: Sequence[Message]) -> None:
        sent = [
            await self.producer.send(
                self.first, m.value, key=m.key.encode(), headers=list(m.headers)
            )
            for m in messages
        ]
        await asyncio.gather(*sent)

    async def delivered(self) -> AsyncIterator[str]:
        async for record in self.reader:
            yield record.key.decode()


async def pass_on(record: Any) -> tuple[bytes, list[tuple[str, bytes]]]:
    """Bytes in, the same bytes out."""
    return record.value, list(record.headers)


def handling(stage: Stage) -> Handle:
    """What `stage` makes of a record, by the same code that the Runner asks."""
    answerer = Answerer(stage, BenchKeys(), Health())
    now = datetime.now(UTC)

    async def handle(r: Any) -> tuple[bytes, list[tuple[str, bytes]]]:
        key, headers = r.key.decode(), tuple(r.headers)
        topic = topic_of(BY_TYPE[dict(headers)["ce_type"].decode()])  # its own have other names
        record = Record(topic, r.partition, r.offset, key, r.value, headers, now)
        (message,) = (await answerer.answer(record)).messages
        return message.value, list(message.headers)

    return handle


async def _hop(bootstrap: str, source: str, target: str, handle: Handle) -> None:
    consumer = AIOKafkaConsumer(
        source,
        bootstrap_servers=bootstrap,
        group_id=f"bare-{target}",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all")
    await consumer.start()
    await producer.start()
    try:
        while True:
            found = await consumer.getmany(timeout_ms=500, max_records=512)
            if not found:
                continue
            sent = []
            for record in chain.from_iterable(found.values()):
                value, headers = await handle(record)
                sent.append(await producer.send(target, value, key=record.key, headers=headers))
            await asyncio.gather(*sent)
            await consumer.commit()
    finally:
        await consumer.stop()
        await producer.stop()


@asynccontextmanager
async def bare_chain(
    bootstrap: str, partitions: int, handlers: Sequence[Handle]
) -> AsyncIterator[BareChain]:
    """Make topics, start a hop for each of `handlers`, and stop them again."""
    topics = await make_topics(bootstrap, "bare", len(handlers) + 1, partitions)
    async with ends(bootstrap, topics) as between:
        hops = [
            asyncio.create_task(_hop(bootstrap, source, target, handle))
            for (source, target), handle in zip(pairwise(topics), handlers, strict=True)
        ]
        try:
            yield between
        finally:
            for hop in hops:
                hop.cancel()
            await asyncio.gather(*hops, return_exceptions=True)


async def make_topics(bootstrap: str, kind: str, count: int, partitions: int) -> list[str]:
    """New topics, each the next one's source."""
    mark = secrets.token_hex(4)
    topics = [f"{kind}-{mark}-{n}" for n in range(count)]
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(name, partitions, 1) for name in topics])
    await admin.close()
    return topics


@asynccontextmanager
async def ends(bootstrap: str, topics: Sequence[str]) -> AsyncIterator[BareChain]:
    """Feed the first of `topics`, read the last."""
    async with AsyncExitStack() as stack:
        producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all")
        reader = AIOKafkaConsumer(
            topics[-1], bootstrap_servers=bootstrap, auto_offset_reset="earliest"
        )
        for client in (producer, reader):
            await client.start()
            stack.push_async_callback(client.stop)
        yield BareChain(producer, reader, topics[0])
