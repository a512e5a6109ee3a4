"""Jobs in at one end, times out at the other: throughput under a backlog, latency at a rate.

Knows clocks and quantiles. Refuses to know what the chain is made of.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import count

from benchmarks.pipeline.chain import Chain
from benchmarks.pipeline.jobs import job
from relay.log.port import Message

_numbers = count()


def _jobs(how_many: int) -> list[Message]:
    """Made before the clock starts: the door's work is not the chain's."""
    return [job(next(_numbers)) for _ in range(how_many)]


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one run; milliseconds from the moment a job was due to its delivery being readable."""

    jobs: int
    seconds: float
    jobs_per_second: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float
    """Of the chain's processes, per job; unlike the others it hardly feels what else runs."""
    delivered_twice: int

    def document(self) -> dict[str, float]:
        return {name: round(value, 2) for name, value in asdict(self).items()}


class Meter:
    """Feeds one chain and watches its end."""

    def __init__(self, chain: Chain, cpu: Callable[[], float] = time.process_time) -> None:
        self._chain, self._cpu_now = chain, cpu
        self._due: dict[str, float] = {}
        self._took: list[float] = []
        self._twice = 0
        self._moved = asyncio.Event()
        self._watching = asyncio.create_task(self._watch())

    async def close(self) -> None:
        self._watching.cancel()
        await asyncio.wait([self._watching])

    async def throughput(self, jobs: int, backlog: int, batch: int = 500) -> Figures:
        """As fast as the chain goes with at most `backlog` jobs inside it."""
        waiting, batch = _jobs(jobs), min(batch, backlog)
        started = self._begin()
        while waiting:
            while len(self._due) > backlog - batch:
                await self._progress()
            now = time.perf_counter()
            await self._send([(message, now) for message in waiting[:batch]])
            del waiting[:batch]
        await self._emptied()
        return self._figures(jobs, time.perf_counter() - started)

    async def latency(self, rate: float, seconds: float) -> Figures:
        """`rate` jobs a second, each due at its own moment, whatever the chain makes of it."""
        waiting, sent = _jobs(int(rate * seconds)), 0
        started = self._begin()
        while sent < len(waiting):
            wait = started + sent / rate - time.perf_counter()
            if wait > 0:
                await asyncio.sleep(wait)
            due = min(int((time.perf_counter() - started) * rate) + 1, len(waiting))
            await self._send([(waiting[n], started + n / rate) for n in range(sent, due)])
            sent = due
        await self._emptied()
        return self._figures(sent, time.perf_counter() - started)

    def _begin(self) -> float:
        self._took = []
        self._cpu = self._cpu_now()
        return time.perf_counter()

    async def _send(self, jobs: list[tuple[Message, float]]) -> None:
        self._due.update((message.key, due) for message, due in jobs)
        await self._chain.append([message for message, _ in jobs])

    async def _emptied(self) -> None:
        while self._due:
            await self._progress()

    async def _progress(self) -> None:
        self._moved.clear()
        async with asyncio.timeout(60):
            await self._moved.wait()

    async def _watch(self) -> None:
        async for key in self._chain.delivered():
            due = self._due.pop(key, None)
            if due is None:
                self._twice += 1
            else:
                self._took.append(time.perf_counter() - due)
            self._moved.set()

    def _figures(self, jobs: int, seconds: float) -> Figures:
        took = sorted(self._took)
        middle, high = took[len(took) // 2], took[int(len(took) * 0.99)]
        cpu = (self._cpu_now() - self._cpu) / jobs * 1000
        rate = jobs / seconds
        return Figures(jobs, seconds, rate, middle * 1000, high * 1000, cpu, self._twice)
