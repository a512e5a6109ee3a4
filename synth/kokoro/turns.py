"""Turns: so many at once, and of those who wait whoever waits longest.

Knows numbers. Refuses to know what is done in a turn, and clocks: since when somebody waits is said
by them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from heapq import heappop, heappush
from itertools import count


class Turns:
    """A semaphore of `free` places whose queue is in the order of what each says."""

    def __init__(self, free: int) -> None:
        self._free = free
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = count()

    @asynccontextmanager
    async def since(self, moment: float) -> AsyncIterator[None]:
        """A turn, as soon as there is one and nobody waits who says less."""
        await self._take(moment)
        try:
            yield
        finally:
            self._give()

    async def _take(self, moment: float) -> None:
        if self._free:
            self._free -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        heappush(self._waiting, (moment, next(self._numbers), turn))
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # it was given to us in this very moment
                self._give()
            raise

    def _give(self) -> None:
        while self._waiting:
            _, _, turn = heappop(self._waiting)
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
