"""What counts as going on: an event in every partition, appended after the kill."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from benchmarks.recovery.watch import Flow
from relay.log.port import Record

KILLED = datetime(2026, 1, 1, tzinfo=UTC)


class _Log:
    """A log as far as `Flow` looks: (partition, seconds after the kill) one after another."""

    def __init__(self, *appended: tuple[int, float]) -> None:
        self._appended = appended

    async def read(self, topics: Any, since: Any, follow: bool) -> AsyncIterator[Record]:
        for partition, seconds in self._appended:
            at = KILLED + timedelta(seconds=seconds)
            yield Record(topics[0], partition, 0, "job", b"", (), at)


async def _seen(*appended: tuple[int, float]) -> Flow:
    flow = Flow(2)
    flow.mark(KILLED)
    log: Any = _Log(*appended)
    await flow.watch(log, "speech-delivered", KILLED)
    return flow


async def test_the_last_partition_to_go_on_says_when() -> None:
    flow = await _seen((0, 1.0), (0, 2.0), (1, 6.0), (1, 7.0))
    assert await flow.goes_on(1) == KILLED + timedelta(seconds=6)


async def test_what_was_sent_before_the_kill_does_not_count() -> None:
    flow = await _seen((0, 0.01), (1, 0.02), (0, 4.0))
    with pytest.raises(TimeoutError):
        await flow.goes_on(0)


async def test_a_partition_that_rests_is_waited_for() -> None:
    flow = await _seen((0, 1.0), (0, 9.0))
    waiting = asyncio.create_task(flow.goes_on(30))
    await asyncio.sleep(0)
    assert not waiting.done()
    await flow.watch(_Log((1, 12.0)), "speech-delivered", KILLED)  # type: ignore[arg-type]
    assert await waiting == KILLED + timedelta(seconds=12)
