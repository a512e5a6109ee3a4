"""Turns are given to whoever waits longest, and none is lost."""

from __future__ import annotations

import asyncio

import pytest

from synth.kokoro.turns import Turns


async def test_of_those_who_wait_the_oldest_is_next() -> None:
    turns, order, gate = Turns(1), list[float](), asyncio.Event()

    async def take(moment: float) -> None:
        async with turns.since(moment):
            await gate.wait()
            order.append(moment)

    tasks = [asyncio.create_task(take(moment)) for moment in (5.0, 9.0, 3.0, 7.0, 3.5)]
    await asyncio.sleep(0)  # all have asked; the first has its turn
    gate.set()
    await asyncio.gather(*tasks)
    assert order == [5.0, 3.0, 3.5, 7.0, 9.0]


async def test_so_many_have_a_turn_at_once() -> None:
    turns, inside, most = Turns(3), 0, 0

    async def take() -> None:
        nonlocal inside, most
        async with turns.since(0.0):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(take() for _ in range(20)))
    assert most == 3


@pytest.mark.parametrize("given", [False, True])
async def test_who_is_cancelled_gives_the_turn_on(given: bool) -> None:
    """Also where it was given in the moment of the cancelling."""
    turns = Turns(1)

    async def take() -> None:
        async with turns.since(1.0):
            pass

    async with turns.since(0.0):
        waiting, last = (asyncio.create_task(take()) for _ in range(2))
        await asyncio.sleep(0)
        if not given:
            waiting.cancel()
    if given:
        waiting.cancel()
    await asyncio.wait({waiting})
    assert waiting.cancelled()
    await asyncio.wait_for(last, 5)
    await asyncio.wait_for(take(), 5)
