"""A person beside the house: does what docs/reliability.md asks of one, and counts how often.

Knows what a process says that does not believe the broker. Refuses to help with anything else.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx

from infra.servers.process import Server
from infra.stages import StageProcess
from tests.faults.blows import launch
from tests.faults.house import House

log = logging.getLogger(__name__)

OF_OLD = "and it had come to"
"""Said by a process which the broker tells less than its group had committed."""
PATIENCE, LOOK = 20.0, 2.0


class Attendant:
    """Starts the broker again, in peace, where it tells offsets of old for long."""

    def __init__(self, house: House) -> None:
        self._house = house
        self.restarts = 0

    async def watch(self) -> None:
        """Until cancelled."""
        since: float | None = None
        while True:
            await asyncio.sleep(LOOK)  # nobody calls a person: they look
            if not await self._disbelieved():
                since = None
            elif since is None:
                since = time.monotonic()
            elif time.monotonic() > since + PATIENCE:
                await self._restart(self._house.servers["kafka"])
                since = None

    async def _disbelieved(self) -> bool:
        said = await asyncio.gather(*(readiness(s, LOOK) for s in self._house.stages.values()))
        return any(OF_OLD in str(each) for each in said)

    async def _restart(self, broker: Server) -> None:
        log.warning("the broker tells offsets of old: it is started again")
        self.restarts += 1
        await asyncio.to_thread(broker.close)
        launch(broker)


@asynccontextmanager
async def attended(house: House) -> AsyncIterator[Attendant]:
    """Somebody beside `house`, who has nothing to do where its log is embedded."""
    attendant = Attendant(house)
    watching = asyncio.create_task(attendant.watch())
    try:
        yield attendant
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching


async def readiness(stage: StageProcess, within: float = 10) -> Mapping[str, Any] | None:
    """What the stage's `/readyz` says; None where nobody answers."""
    async with httpx.AsyncClient(base_url=stage.url, timeout=within) as client:
        try:
            said: Mapping[str, Any] = (await client.get("/readyz")).json()
        except httpx.HTTPError:
            return None
    return said
