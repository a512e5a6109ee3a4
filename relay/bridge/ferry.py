"""Carrying records from one log to another, each once and in order, whatever breaks on the way.

Knows one loop: read on from the positions that the other log keeps, get a batch's cargo across,
append the batch with its positions. The position of a partition is the offset of the next record to
carry. Whatever goes wrong, everything is opened anew, and the positions tell what is true. Refuses
to know what a record says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from prometheus_client import Counter, Gauge

from relay.errors import Misconfigured, RelayError, Unavailable
from relay.log.port import Log, Message, Place, Record, Source
from relay.retry import until_available
from relay.stopping import until_stopped
from relay.telemetry import Health

T = TypeVar("T")

CARRIED = Counter("voxrelay_bridge_carried", "Records carried over the line", ["way"])
LAG = Gauge("voxrelay_bridge_lag", "Records that are not carried yet, others' included", ["way"])

BATCH = 128
"""Most records in one step."""
AT_ONCE = 8
"""Cargo under way at the same time; with the longest recording it bounds the memory."""
STRIDE = 512
"""Records that are not for us, after which the position moves without anything to append."""
LOOK = 1.0
"""Seconds without a record after which a step ends, so that a line that is well again says so."""
COUNT = 15.0
"""Seconds between two looks at how far the other log's end is."""

Carry = Callable[[Record], Awaitable[Sequence[Message]]]
"""What is to be appended for a record, its cargo being across; called again after a break.

Raises `Unavailable` where either side is down.
"""


@dataclass(frozen=True, slots=True)
class Route:
    """From where to where. `source` names the goal's source that keeps a partition's position."""

    way: str
    topics: Sequence[str]
    origin: Log
    goal: Log
    source: Callable[[Place], str]
    prepares: bool = False
    """Whether a position that is missing begins at the start, else it was never set up."""
    since: datetime | None = None
    """Where nothing was carried yet: records appended before are not read."""


class Ferry:
    """Carries along one route until `stop`. While either side is down, `health` says so."""

    def __init__(self, route: Route, carry: Carry, health: Health) -> None:
        self._route, self._carry, self._health = route, carry, health
        self._part = f"bridge {route.way}"
        self._opened = AsyncExitStack()
        self._sources: Mapping[Place, Source] = {}
        self._at: dict[Place, int] = {}
        self._ends: Mapping[Place, int] = {}
        self._counted = 0.0
        self._come = asyncio.Queue[Record](BATCH)
        self._reading: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._carried = CARRIED.labels(route.way)
        LAG.labels(route.way).set_function(self._lag)

    def stop(self) -> None:
        """End `run`; what is under way is carried again by the next one."""
        self._stopping.set()

    async def run(self) -> None:
        """Carry until `stop`. No error of either side ends it: an edge works without its line."""
        try:
            await until_stopped(self._loop(), self._stopping, grace=0)
        finally:
            await self._shut()

    async def _loop(self) -> None:
        while not self._stopping.is_set():
            await until_available(self._step, self._part, self._health)

    async def _step(self) -> None:
        """Carry a batch, or wait for one for a while. Every error closes everything."""
        try:
            if self._reading is None:
                await self._open()
            if batch := await self._next():
                await self._take_across(batch)
            await self._count()
        except RelayError as error:
            await self._shut()
            raise Unavailable(str(error)) from error

    # -- opening and closing ------------------------------------------------------------------

    async def _open(self) -> None:
        """Become the one who carries, and read on from where the positions say."""
        route = self._route
        self._ends = await route.origin.ends(route.topics)
        names = {place: route.source(place) for place in self._ends}
        if route.prepares:
            await route.goal.apply({}, {}, list(names.values()))
        opened = await _together(
            self._opened.enter_async_context(route.goal.source(name)) for name in names.values()
        )
        self._sources = dict(zip(names, opened, strict=True))
        self._at = {place: source.position for place, source in self._sources.items()}
        self._refuse_what_is_beyond_the_end()
        self._come = asyncio.Queue(BATCH)
        self._reading = asyncio.create_task(self._read(self._come))
        self._opened.push_async_callback(_end, self._reading)

    def _refuse_what_is_beyond_the_end(self) -> None:
        for place, at in self._at.items():
            if at > self._ends[place]:
                raise Misconfigured(
                    f"{at} records of {place[0]}/{place[1]} were carried from a log that holds "
                    f"{self._ends[place]}: it is another one, or was restored from a backup. "
                    "A log that begins anew needs a VOXRELAY_SITE of its own"
                )

    async def _read(self, come: asyncio.Queue[Record]) -> None:
        """Read ahead, no further than the queue is long."""
        route = self._route
        start = {place: at for place, at in self._at.items() if at or route.since is None}
        records = route.origin.read(route.topics, route.since, follow=True, start=start)
        async with aclosing(records):  # type: ignore[type-var]
            async for record in records:
                await come.put(record)

    async def _shut(self) -> None:
        self._reading = None
        opened, self._opened = self._opened, AsyncExitStack()
        with suppress(RelayError):
            await opened.aclose()  # whatever it left open, the next to open settles

    # -- carrying -----------------------------------------------------------------------------

    async def _next(self) -> list[Record]:
        """What has come, a batch at most; empty where nothing came for a while."""
        assert self._reading is not None
        if self._reading.done():
            self._reading.result()  # raises: it never ends by itself
        try:
            async with asyncio.timeout(LOOK):
                batch = [await self._come.get()]
        except TimeoutError:
            return []
        while len(batch) < BATCH and not self._come.empty():
            batch.append(self._come.get_nowait())
        return batch

    async def _take_across(self, batch: Sequence[Record]) -> None:
        few = asyncio.Semaphore(AT_ONCE)

        async def carry(record: Record) -> Sequence[Message]:
            async with few:
                return await self._carry(record)

        answers = await _together(carry(record) for record in batch)
        messages: dict[Place, list[Message]] = {}
        for record, answer in zip(batch, answers, strict=True):
            place = record.topic, record.partition
            messages.setdefault(place, []).extend(answer)
            self._at[place] = record.offset + 1
        await _together(self._append(place, sent) for place, sent in messages.items())

    async def _append(self, place: Place, messages: Sequence[Message]) -> None:
        source = self._sources.get(place)
        if source is None:
            raise Unavailable(f"partition {place[0]}/{place[1]} was added: opening anew")
        if messages or self._at[place] - source.position >= STRIDE:
            await source.append(messages, self._at[place])
            self._carried.inc(len(messages))

    # -- how far ------------------------------------------------------------------------------

    async def _count(self) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._counted > COUNT:
            self._ends = await self._route.origin.ends(self._route.topics)
            self._counted = now

    def _lag(self) -> float:
        return sum(max(0, end - self._at.get(place, 0)) for place, end in self._ends.items())


async def _together(calls: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """What `calls` answer; when one raises the others are cancelled, and have ended."""
    tasks = [asyncio.create_task(call) for call in calls]
    try:
        return await asyncio.gather(*tasks)
    finally:
        await _end(*tasks)


async def _end(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
