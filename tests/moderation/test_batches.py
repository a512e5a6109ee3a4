"""What arrives together is answered together, and nobody pays for a neighbour."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from moderation.batches import Batches


class Work:
    """Doubles numbers, batch by batch; blocks on `gate` and fails on what `breaks` says."""

    def __init__(self, breaks: Callable[[int], bool] = lambda number: False) -> None:
        self.batches: list[list[int]] = []
        self.threads: set[int] = set()
        self.gate = threading.Event()
        self.gate.set()
        self.started = threading.Event()
        self._breaks = breaks

    def __call__(self, numbers: Sequence[int]) -> list[int]:
        self.started.set()
        assert self.gate.wait(10)
        self.batches.append(list(numbers))
        self.threads.add(threading.get_ident())
        if any(map(self._breaks, numbers)):
            raise ValueError("poison")
        return [2 * number for number in numbers]


@asynccontextmanager
async def batches(
    work: Work, limit: int = 8, kind: Callable[[int], int] = lambda number: 0
) -> AsyncIterator[Batches[int, int]]:
    made = Batches(work, kind, limit)
    try:
        yield made
    finally:
        work.gate.set()
        await made.close()


async def test_what_arrives_in_one_turn_is_one_batch() -> None:
    work = Work()
    async with batches(work) as asked:
        assert await asyncio.gather(*map(asked.ask, range(5))) == [0, 2, 4, 6, 8]
    assert work.batches == [[0, 1, 2, 3, 4]]


async def test_what_arrives_meanwhile_waits_and_goes_together_up_to_the_limit() -> None:
    work = Work()
    work.gate.clear()
    async with batches(work, limit=3) as asked:
        first = asyncio.create_task(asked.ask(0))
        await asyncio.to_thread(work.started.wait, 10)
        rest = [asyncio.create_task(asked.ask(number)) for number in range(1, 6)]
        await asyncio.sleep(0)
        work.gate.set()
        await asyncio.gather(first, *rest)
    assert work.batches == [[0], [1, 2, 3], [4, 5]]
    assert len(work.threads) == 1


async def test_a_batch_is_of_one_kind_and_the_oldest_goes_first() -> None:
    work = Work()
    async with batches(work, kind=lambda number: number % 2) as asked:
        await asyncio.gather(*map(asked.ask, [1, 2, 3, 4]))
    assert work.batches == [[1, 3], [2, 4]]


async def test_poison_fails_its_own_caller_alone() -> None:
    work = Work(breaks=lambda number: number == 2)
    async with batches(work) as asked:
        answers = await asyncio.gather(*map(asked.ask, range(4)), return_exceptions=True)
        assert await asked.ask(5) == 10
    assert [answers[0], answers[1], answers[3]] == [0, 2, 6]
    assert isinstance(answers[2], ValueError)


async def test_a_cancelled_call_is_not_worked_for() -> None:
    work = Work()
    work.gate.clear()
    async with batches(work) as asked:
        first = asyncio.create_task(asked.ask(0))
        await asyncio.to_thread(work.started.wait, 10)
        second, third = (asyncio.create_task(asked.ask(number)) for number in (1, 2))
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.sleep(0)
        work.gate.set()
        assert (await first, await third) == (0, 4)
    assert work.batches == [[0], [2]]


async def test_closing_ends_the_calls_that_wait() -> None:
    work = Work()
    work.gate.clear()
    asked: Batches[int, int] = Batches(work, lambda number: 0, 1)
    first, second = (asyncio.create_task(asked.ask(number)) for number in (0, 1))
    await asyncio.to_thread(work.started.wait, 10)
    closing = asyncio.create_task(asked.close())
    await asyncio.sleep(0)
    work.gate.set()
    await closing
    assert await first == 0
    with pytest.raises(asyncio.CancelledError):
        await second
