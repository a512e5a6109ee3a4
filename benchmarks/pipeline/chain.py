"""The chain as it is run: a source, three stages under the real Runner, a reader at the end.

Knows the spine. Refuses to measure.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from benchmarks.pipeline.jobs import STAGES, BenchKeys
from relay.log.port import Log, Message, Source
from relay.runner import Limits, Runner
from schemas.events import SpeechDelivered
from schemas.topics import DEAD, TOPICS, topic_of

SOURCE = "bench"
_ALL = [*(topic.name for topic in TOPICS), *DEAD]


class Chain(Protocol):
    """What is measured: jobs go in at one end, their keys come out at the other."""

    async def append(self, messages: Sequence[Message]) -> None: ...
    def delivered(self) -> AsyncIterator[str]: ...


@dataclass(slots=True)
class RelayChain:
    """The chain of our own, on any log."""

    log: Log
    source: Source
    since: datetime

    async def append(self, messages: Sequence[Message]) -> None:
        await self.source.append(messages, self.source.position + len(messages))

    async def delivered(self) -> AsyncIterator[str]:
        end = topic_of(SpeechDelivered)
        async for record in self.log.read([end], since=self.since, follow=True):
            yield record.key


async def set_up(log: Log, partitions: int) -> None:
    """Make what the chain needs and is not there yet."""
    groups = {stage.name: [topic_of(event) for event in stage.consumes] for stage in STAGES}
    await log.apply(dict.fromkeys(_ALL, partitions), groups, [SOURCE])


@asynccontextmanager
async def relay_chain(log: Log, partitions: int, limits: Limits) -> AsyncIterator[RelayChain]:
    """Set up, start the stages, and stop them again; exactly once all the way."""
    await set_up(log, partitions)
    keys = BenchKeys()
    runners = [Runner(stage(), log, keys, limits) for stage in STAGES]
    tasks = [asyncio.create_task(runner.run()) for runner in runners]
    try:
        async with log.source(SOURCE) as source:
            yield RelayChain(log, source, datetime.now(UTC))
    finally:
        for runner in runners:
            runner.stop()
        await asyncio.gather(*tasks)
