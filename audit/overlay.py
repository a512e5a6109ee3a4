"""An object store over another: reads both, writes into the upper one alone.

Knows keys that are hidden in the lower one, so that they are made again. Refuses to change what
lies below.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from datetime import timedelta

from relay.errors import Missing
from relay.objects.port import ObjectStore, Stat


class Overlay:
    """An `ObjectStore`."""

    def __init__(self, lower: ObjectStore, upper: ObjectStore, hidden: Collection[str]) -> None:
        self._lower, self._upper, self._hidden = lower, upper, hidden

    async def put(self, key: str, data: bytes, content_type: str) -> bool:
        if (await self._home(key)) is self._lower:
            return False
        return await self._upper.put(key, data, content_type)

    async def get(self, key: str) -> bytes:
        return await (await self._home(key)).get(key)

    async def stat(self, key: str) -> Stat:
        return await (await self._home(key)).stat(key)

    async def read(self, key: str, start: int, end: int) -> bytes:
        return await (await self._home(key)).read(key, start, end)

    async def delete(self, key: str) -> None:
        await self._upper.delete(key)

    async def list(self, prefix: str) -> AsyncIterator[Stat]:
        """Of the upper one alone."""
        async for stat in self._upper.list(prefix):
            yield stat

    def url(self, key: str, lifetime: timedelta, filename: str) -> str | None:
        return self._upper.url(key, lifetime, filename)

    async def check(self) -> None:
        await self._lower.check()

    async def close(self) -> None:
        await self._upper.close()

    async def _home(self, key: str) -> ObjectStore:
        """The lower one where the key lies there for all to see; else the upper."""
        if key in self._hidden:
            return self._upper
        try:
            await self._lower.stat(key)
        except Missing:
            return self._upper
        return self._lower
