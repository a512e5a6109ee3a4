"""FastStream's chain: a subscriber and a publisher a hop, in one process.

FastStream by itself makes a value of each JSON body and JSON of each answer; nothing else is done.

Two ways to acknowledge. `as_documented` is the default: offsets are committed by a clock, so a
death may lose what was fetched. `at_least_once` commits after each message, with as many workers
as a topic has partitions, which is as many as keep the order of a key.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

from faststream import AckPolicy
from faststream.kafka import KafkaBroker, KafkaMessage, KafkaResponse

from benchmarks.pipeline.bare import BareChain, ends, make_topics

HOPS = 3

as_documented: Mapping[str, Any] = {}


def at_least_once(partitions: int) -> Mapping[str, Any]:
    """Options of a subscriber that loses nothing."""
    return {"ack_policy": AckPolicy.NACK_ON_ERROR, "max_workers": partitions}


@asynccontextmanager
async def faststream_chain(
    bootstrap: str, partitions: int, options: Mapping[str, Any]
) -> AsyncIterator[BareChain]:
    """Make topics, start the hops, and stop them again; the ends are those of the bare chain."""
    topics = await make_topics(bootstrap, "stream", HOPS + 1, partitions)
    broker = KafkaBroker(bootstrap, acks="all", logger=None)
    for source, target in pairwise(topics):
        _hop(broker, source, target, options)
    async with ends(bootstrap, topics) as chain, broker:
        await broker.start()
        yield chain


def _hop(broker: KafkaBroker, source: str, target: str, options: Mapping[str, Any]) -> None:
    @broker.subscriber(source, group_id=f"stream-{target}", auto_offset_reset="earliest", **options)
    @broker.publisher(target)
    async def pass_on(event: dict[str, Any], message: KafkaMessage) -> KafkaResponse:
        return KafkaResponse(event, key=message.raw_message.key, headers=message.headers)
