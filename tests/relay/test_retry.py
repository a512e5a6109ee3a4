"""Trying again for ever, and what readiness says of it meanwhile."""

from __future__ import annotations

import asyncio

import pytest

from relay.errors import Unavailable
from relay.retry import until_available
from relay.telemetry import Health
from tests.sql import until


class Part:
    """Answers once it is `up`."""

    def __init__(self) -> None:
        self.up = False
        self.asked = asyncio.Event()

    async def __call__(self) -> str:
        self.asked.set()
        if not self.up:
            raise Unavailable("it does not answer")
        return "an answer"


def waiter(part: Part, health: Health, place: str) -> asyncio.Task[str]:
    return asyncio.create_task(until_available(part, "store", health, place=place))


async def test_one_who_is_answered_says_nothing_of_the_others() -> None:
    health, first, second, fine = Health(), Part(), Part(), Part()
    fine.up = True
    waiting = [waiter(first, health, "t/0/1"), waiter(second, health, "t/0/2")]
    await until(lambda: "1 more" in health.troubles.get("store", ""))
    assert await waiter(fine, health, "t/0/3") == "an answer"
    assert health.troubles == {"store": "t/0/1: it does not answer (and 1 more)"}
    first.up = True
    await waiting[0]
    assert health.troubles == {"store": "t/0/2: it does not answer"}
    second.up = True
    await waiting[1]
    assert health.ready


async def test_one_who_stops_waiting_is_in_trouble_no_more() -> None:
    health, part = Health(), Part()
    waiting = waiter(part, health, "t/0/1")
    await until(lambda: not health.ready)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert health.ready
