"""Calls that arrive while work is going on, answered together.

Knows one worker thread, who waits, and which calls go together. Refuses to know what the work is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")

Work = Callable[[Sequence[Item]], Sequence[Answer]]


@dataclass(frozen=True, slots=True)
class _Call(Generic[Item, Answer]):
    item: Item
    answer: asyncio.Future[Answer]


class Batches(Generic[Item, Answer]):
    """Runs `work` in a thread of its own, one batch after another, at most `limit` items each.

    A batch is the oldest call and whatever else waits with the same `kind`, oldest first. Where a
    batch fails, each of its items is tried alone, so a failure belongs to who caused it.
    """

    def __init__(
        self, work: Work[Item, Answer], kind: Callable[[Item], Hashable], limit: int
    ) -> None:
        self._work = work
        self._kind = kind
        self._limit = limit
        self._waiting: list[_Call[Item, Answer]] = []
        self._runner: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="batches")

    async def ask(self, item: Item) -> Answer:
        """The answer to `item`, or what its work raised; a cancelled call gives up its place."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        call = _Call(item, answer)
        self._waiting.append(call)
        if self._runner is None or self._runner.done():
            self._runner = asyncio.create_task(self._run())
        return await call.answer

    async def close(self) -> None:
        """End the thread once the batch in hand is done; calls still waiting are cancelled."""
        for call in self._waiting:
            call.answer.cancel()
        await asyncio.to_thread(self._thread.shutdown)

    async def _run(self) -> None:
        await asyncio.sleep(0)  # whoever asks in this same turn of the loop joins the first batch
        while batch := self._take():
            await self._answer(batch)

    def _take(self) -> list[_Call[Item, Answer]]:
        waiting = [call for call in self._waiting if not call.answer.done()]
        if not waiting:
            self._waiting = []
            return []
        kind = self._kind(waiting[0].item)
        batch = [call for call in waiting if self._kind(call.item) == kind][: self._limit]
        taken = set(map(id, batch))
        self._waiting = [call for call in waiting if id(call) not in taken]
        return batch

    async def _answer(self, batch: list[_Call[Item, Answer]]) -> None:
        loop = asyncio.get_running_loop()
        items = [call.item for call in batch]
        try:
            answers = await loop.run_in_executor(self._thread, self._work, items)
        except Exception as failure:  # noqa: BLE001  whatever it is, it is handed to its caller
            if len(batch) > 1:
                for call in batch:
                    await self._answer([call])
            elif not batch[0].answer.done():
                batch[0].answer.set_exception(failure)
            return
        for call, answer in zip(batch, answers, strict=True):
            if not call.answer.done():
                call.answer.set_result(answer)
