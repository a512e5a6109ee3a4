"""The chain to compare with: plain aiokafka, at least once, nothing but bytes passed on.

Each hop sends what a poll gave, awaits the acknowledgements (`acks=all`), then commits offsets.
No transactions, no JSON, no seals; a crash repeats work.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from relay.log.port import Message

TOPICS = ("bare-uploaded", "bare-approved", "bare-synthesized", "bare-delivered")


@dataclass(slots=True)
class BareChain:
    """The ends of the chain."""

    producer: AIOKafkaProducer
    reader: AIOKafkaConsumer

    async def append(self, messages: Sequence[Message]) -> None:
        sent = [
            await self.producer.send(
                TOPICS[0], m.value, key=m.key.encode(), headers=list(m.headers)
            )
            for m in messages
        ]
        await asyncio.gather(*sent)

    async def delivered(self) -> AsyncIterator[str]:
        async for record in self.reader:
            yield record.key.decode()


async def _hop(bootstrap: str, source: str, target: str) -> None:
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
            sent = [
                await producer.send(target, r.value, key=r.key, headers=list(r.headers))
                for records in found.values()
                for r in records
            ]
            await asyncio.gather(*sent)
            await consumer.commit()
    finally:
        await consumer.stop()
        await producer.stop()


@asynccontextmanager
async def bare_chain(bootstrap: str, partitions: int) -> AsyncIterator[BareChain]:
    """Make the topics, start the hops, and stop them again."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(name, partitions, 1) for name in TOPICS])
    await admin.close()
    async with AsyncExitStack() as stack:
        producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all")
        reader = AIOKafkaConsumer(
            TOPICS[-1], bootstrap_servers=bootstrap, auto_offset_reset="earliest"
        )
        for client in (producer, reader):
            await client.start()
            stack.push_async_callback(client.stop)
        pairs = itertools.pairwise(TOPICS)
        hops = [asyncio.create_task(_hop(bootstrap, *pair)) for pair in pairs]
        try:
            yield BareChain(producer, reader)
        finally:
            for hop in hops:
                hop.cancel()
            await asyncio.gather(*hops, return_exceptions=True)
