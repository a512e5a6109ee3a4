"""Writes that arrive together share one transaction.

Knows how to gather them without waiting for more than there is, and whose failure is whose. Refuses
to know what is written; that has to be idempotent, as whoever gave up waiting is written too.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from relay.errors import Unavailable
from relay.sql.database import Database, Transaction

T = TypeVar("T")

MOST = 64


class Together(Generic[T]):
    """Gathers what `put` is given into calls of `write`, one transaction at a time."""

    def __init__(
        self,
        database: Database,
        write: Callable[[Transaction, Sequence[T]], Awaitable[None]],
        most: int = MOST,
    ) -> None:
        self._database, self._write, self._most = database, write, most
        self._waiting: deque[tuple[T, asyncio.Future[None]]] = deque()
        self._writing: asyncio.Task[None] | None = None

    async def put(self, item: T) -> None:
        """Return once `item` is committed; raise what kept it from being so."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, done))
        if self._writing is None:
            self._writing = asyncio.create_task(self._drain())
        await done

    async def _drain(self) -> None:
        try:
            while self._waiting:
                most = min(self._most, len(self._waiting))
                await self._commit([self._waiting.popleft() for _ in range(most)])
        finally:
            self._writing = None

    async def _commit(self, batch: Sequence[tuple[T, asyncio.Future[None]]]) -> None:
        items = [item for item, _ in batch]
        try:
            await self._database.run(lambda tx: self._write(tx, items))
        except Unavailable as down:
            for _, done in batch:
                _fail(done, Unavailable(str(down)))
        except Exception as bug:  # noqa: BLE001 - belongs to one of them: find out which
            if len(batch) == 1:
                _fail(batch[0][1], bug)
                return
            for one in batch:
                await self._commit([one])
        else:
            for _, done in batch:
                if not done.done():
                    done.set_result(None)


def _fail(done: asyncio.Future[None], error: Exception) -> None:
    if not done.done():
        done.set_exception(error)
