"""The watch of a process on its log: it tells, and goes on watching."""

from __future__ import annotations

import asyncio

import pytest

from relay.errors import Misconfigured
from relay.http import Watch
from relay.telemetry import Health


async def test_what_an_operator_has_to_put_right_is_told_until_it_is() -> None:
    forbidden, health, looked = True, Health(), asyncio.Event()

    async def check() -> None:
        looked.set()
        if forbidden:
            raise Misconfigured("Kafka forbids it")

    async def until(*, ready: bool) -> None:
        while health.ready is not ready:
            looked.clear()
            await looked.wait()
            await asyncio.sleep(0)

    watch = Watch("log", check, health, every=0.001)
    running = asyncio.create_task(watch.run())
    async with asyncio.timeout(30):
        await until(ready=False)
        assert health.troubles == {"log": "Kafka forbids it"}
        forbidden = False
        await until(ready=True)
        watch.stop()
        await running


async def test_a_fault_in_checking_ends_the_watch_and_is_not_lost() -> None:
    """Else readiness would stay for ever what it was."""

    async def check() -> None:
        raise LookupError("a bug")

    async with asyncio.timeout(30):
        with pytest.raises(LookupError):
            await Watch("log", check, Health()).run()
