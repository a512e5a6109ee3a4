"""Jobs through the door, as many as may be inside or so many a second; their ends from the log.

Knows the door and the topics that end a job. Refuses to know processes.
"""

from __future__ import annotations

import asyncio
import io
import time
import wave
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import cache
from itertools import count
from pathlib import Path

import httpx
import numpy as np

from relay.flac import Sound, read_flac
from relay.log.port import Log
from schemas.events import SpeechDelivered
from schemas.states import STATE_OF, TERMINAL
from schemas.topics import TOPICS, topic_of

ENDS = [topic.name for topic in TOPICS if STATE_OF[topic.event] in TERMINAL]
_DELIVERED = topic_of(SpeechDelivered)
_EXAMPLE = Path(__file__).parents[2] / "examples" / "mandarin.flac"
_SECONDS = 2.5
_REQUESTS = 100


class Load:
    """Counts what goes in and what comes out."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self._numbers = count()
        self._sending: set[asyncio.Task[None]] = set()
        self._ended: set[str] = set()
        self._moved = asyncio.Event()
        self.sent = self.delivered = self.twice = 0
        self.refusals: Counter[str] = Counter()
        """Requests that no job came of, by what the door said or what kept it from answering."""

    @property
    def refused(self) -> int:
        return self.refusals.total()

    @property
    def ended(self) -> int:
        return len(self._ended)

    @property
    def inside(self) -> int:
        """Jobs on their way, from the request on."""
        return self.sent - self.refused - self.ended

    def send(self) -> None:
        """One job, answered later."""
        self.sent += 1
        task = asyncio.create_task(self._post(next(self._numbers)))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def full(self, seconds: float, most: int) -> float:
        """Jobs a second with `most` of them inside at any time; the first third warms up."""
        start, counted = time.monotonic(), (0.0, 0)
        while (now := time.monotonic() - start) < seconds or self.ended == counted[1]:
            if not counted[1] and now > seconds / 3:
                counted = now, self.ended
            while self.inside < most:
                self.send()
            await self._progress(1.0)
        return (self.ended - counted[1]) / (now - counted[0])

    async def steady(self, rate: float, seconds: float) -> None:
        """`rate` jobs a second, each at its own moment, whatever comes of them."""
        start, sent = time.monotonic(), 0
        while (now := time.monotonic() - start) < seconds:
            for _ in range(int(now * rate) + 1 - sent):
                self.send()
                sent += 1
            await asyncio.sleep(max(0.0, start + sent / rate - time.monotonic()))

    async def emptied(self, within: float) -> bool:
        """Whether all that went in came out within so many seconds."""
        until = time.monotonic() + within
        while self.inside and time.monotonic() < until:
            await self._progress(1.0)
        return not self.inside

    async def sent_off(self) -> None:
        """Until every request has been answered."""
        await asyncio.gather(*self._sending)

    async def watch(self, log: Log, since: datetime) -> None:
        """Note every end, for ever."""
        async for record in log.read(ENDS, since=since, follow=True):
            self.twice += record.key in self._ended
            self.delivered += record.topic == _DELIVERED
            self._ended.add(record.key)
            self._moved.set()

    async def _post(self, n: int) -> None:
        try:
            answer = await self._client.post(
                "/v1/jobs",
                data={"text": f"第{n}句话，说给你听。"},
                files={"recording": recording(n)},
            )
        except httpx.HTTPError as unanswered:
            self._refused(type(unanswered).__name__)
            return
        if answer.status_code != httpx.codes.ACCEPTED:
            self._refused(_said(answer))

    def _refused(self, why: str) -> None:
        self.refusals[why] += 1
        self._moved.set()

    async def _progress(self, within: float) -> None:
        self._moved.clear()
        try:
            await asyncio.wait_for(self._moved.wait(), within)
        except TimeoutError:
            return


def _said(answer: httpx.Response) -> str:
    """The code of a problem, or the status of whoever answers without one."""
    try:
        return str(answer.json()["code"])
    except (ValueError, KeyError, TypeError):
        return str(answer.status_code)


@asynccontextmanager
async def load_on(url: str, log: Log) -> AsyncIterator[Load]:
    """A load on the door at `url`, whose ends come from `log`."""
    limits = httpx.Limits(max_connections=_REQUESTS)
    async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits) as client:
        load = Load(client)
        watching = asyncio.create_task(load.watch(log, datetime.now(UTC)))
        try:
            yield load
        finally:
            await load.sent_off()
            watching.cancel()
            await asyncio.wait([watching])


def recording(n: int) -> bytes:
    """Someone speaks, begun at a moment that no other job has: nothing is found in a cache."""
    sound = _speech()
    samples = np.roll(sound.samples, -n)[: int(_SECONDS * sound.rate)]
    file = io.BytesIO()
    with wave.open(file, "wb") as written:
        written.setnchannels(1)
        written.setsampwidth(2)
        written.setframerate(sound.rate)
        written.writeframes((samples * 32_767).astype("<i2").tobytes())
    return file.getvalue()


@cache
def _speech() -> Sound:
    return read_flac(_EXAMPLE.read_bytes())
