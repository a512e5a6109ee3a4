"""A lane whose commits are refused."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from relay import telemetry
from relay.errors import Unavailable
from relay.lane import Lane
from relay.log.port import Committed, Message
from relay.telemetry import Health
from relay.window import Window
from tests.sql import until


class Refusing:
    """A claim on a log that can be polled, and takes nothing until `takes` is set."""

    topic, partition, committed = "t", 0, Committed(0)

    def __init__(self) -> None:
        self.takes = False
        self.answers = asyncio.Event()
        self.answers.set()

    async def commit(self, mark: Committed, messages: Sequence[Message]) -> None:
        await self.answers.wait()
        if not self.takes:
            raise Unavailable("too few of the brokers are there")

    def pause(self) -> None: ...
    def resume(self) -> None: ...


def lane(claim: Refusing, health: Health) -> Lane:
    return Lane(claim, "g", health, Window(Committed(0), waiting=8, ahead=8))


async def test_a_log_that_answers_but_takes_nothing_is_trouble_however_often_it_is_polled() -> None:
    claim, health = Refusing(), Health()
    committing = asyncio.create_task(lane(claim, health).commit())
    await until(lambda: not health.ready)
    health.well("log")  # as every poll says
    assert not health.ready
    claim.takes = True
    assert await committing
    assert health.ready


async def test_a_log_that_says_nothing_is_trouble_before_its_client_gives_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(telemetry, "PATIENCE", 0.01)
    claim, health = Refusing(), Health()
    claim.takes = True
    claim.answers.clear()
    committing = asyncio.create_task(lane(claim, health).commit())
    await until(lambda: not health.ready)
    assert "log t/0" in health.troubles
    claim.answers.set()
    assert await committing
    assert health.ready


async def test_a_closed_lane_leaves_no_trouble_behind() -> None:
    claim, health = Refusing(), Health()
    closed = lane(claim, health)
    committing = asyncio.create_task(closed.commit())
    await until(lambda: not health.ready)
    committing.cancel()
    await asyncio.wait([committing])
    await closed.close()
    assert health.ready
