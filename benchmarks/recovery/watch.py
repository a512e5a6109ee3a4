"""What the members of a group hold, and when each partition of a topic goes on.

Knows the log and a stage's metrics. Refuses to kill anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

import httpx
from prometheus_client.parser import text_string_to_metric_families

from infra.stages import StageProcess
from relay.log.port import Log

CLAIMS = "voxrelay_claims"
_SENT_BEFORE = timedelta(seconds=0.1)
"""What a process had sent before it was killed may be appended so long after."""


class Flow:
    """The end of a stage, by partition."""

    def __init__(self, partitions: int) -> None:
        self._partitions = partitions
        self._since: datetime | None = None
        self._first: dict[int, datetime] = {}
        self._moved = asyncio.Event()

    async def watch(self, log: Log, topic: str, since: datetime) -> None:
        """Note what is appended, for ever."""
        async for record in log.read([topic], since=since, follow=True):
            if self._since is not None and record.appended > self._since + _SENT_BEFORE:
                self._first.setdefault(record.partition, record.appended)
                self._moved.set()

    def mark(self, since: datetime) -> None:
        """From here on what counts is appended after `since`."""
        self._since, self._first = since, {}

    async def goes_on(self, within: float) -> datetime:
        """The moment at which the last of the partitions went on."""
        async with asyncio.timeout(within):
            while len(self._first) < self._partitions:
                self._moved.clear()
                await self._moved.wait()
        return max(self._first.values())


async def shared_out(members: Sequence[StageProcess], partitions: int, within: float) -> None:
    """Return once every member holds its share."""
    share = partitions // len(members)
    async with asyncio.timeout(within), httpx.AsyncClient() as client:
        while True:
            if [await _claims(client, member) for member in members] == [share] * len(members):
                return
            await asyncio.sleep(0.1)


async def _claims(client: httpx.AsyncClient, member: StageProcess) -> int:
    try:
        text = (await client.get(f"{member.url}/metrics", timeout=5)).text
    except httpx.HTTPError:
        return 0  # it is still starting
    families = text_string_to_metric_families(text)
    return int(sum(s.value for family in families for s in family.samples if s.name == CLAIMS))
