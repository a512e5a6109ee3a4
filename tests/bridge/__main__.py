"""A backlog and its way over the line: `python -m tests.bridge --backlog N --kills K [--json]`.

N jobs lie in an edge's log and store before the bridge first starts, as after days without a line.
A real broker, store and database stand at the other end; as each job arrives its outcome is
appended there, so that both ways are busy. At last the bridge is killed once more and has some more
jobs to carry, behind whatever it would do twice. Counted at both ends afterwards, and the bridge's
memory on the way.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

from infra.servers.errors import ServerFailed
from infra.stages import StageProcess
from relay.codec import decode, encode, head_of
from relay.log.port import Log, Record
from relay.spine import Spine, open_spine
from schemas.events import (
    Audio,
    AudioFormat,
    Label,
    PromptUploaded,
    SpeechDelivered,
    Spoken,
)
from schemas.topics import topic_of
from tests.bridge.shop import Shop, shop
from tests.bridge.sides import Side, accepted

PERSONS = 50
SOUND_BYTES = 60_000
"""Of a recording, and of an audio: a few seconds of FLAC, ten of MP3."""
AFTERWARDS = 200
"""Jobs after the last death: so many are in each of 24 partitions."""
AT_ONCE = 8  # an open database has ten lines
UP, DOWN = topic_of(PromptUploaded), topic_of(SpeechDelivered)
SPOKEN = Spoken(engine="none", voice="none", version="1", digest="d", device="cpu", cloned=False)


async def backlog(spine: Spine, jobs: int, seed: int) -> None:
    """Jobs of some persons, in log and store as a gateway would leave them."""
    draw = random.Random(seed)
    edge = Side(spine.settings, spine.log, spine.database, spine.keys, spine.store)
    persons = [await edge.person() for _ in range(PERSONS)]
    await spine.log.apply({}, {}, ["backlog"])
    async with spine.log.source("backlog") as source:
        for first in range(0, jobs, AT_ONCE):
            some = range(first, min(first + AT_ONCE, jobs))
            made = (
                accepted(edge, persons[n % PERSONS], f"第{n}句。", draw.randbytes(SOUND_BYTES))
                for n in some
            )
            await source.append(await asyncio.gather(*made), source.position + len(some))


class Followed:
    """A topic as it grows: ids of its events, and the records nobody has taken yet."""

    def __init__(self, log: Log, topic: str, *, keeps: bool) -> None:
        self.ids = Counter[str]()
        self.fresh = asyncio.Queue[Record](AT_ONCE)
        self._keeps = keeps
        self._task = asyncio.create_task(self._follow(log, topic))

    async def take(self) -> list[Record]:
        """What has come since the last time, once there is something."""
        taken = [await self.fresh.get()]
        while not self.fresh.empty():
            taken.append(self.fresh.get_nowait())
        return taken

    def reaches(self, jobs: int) -> bool:
        """Whether so many have come; raises what ended the following: nothing should."""
        if self._task.done():
            self._task.result()
        return len(self.ids) >= jobs

    async def close(self) -> None:
        """Follow no more."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _follow(self, log: Log, topic: str) -> None:
        async for record in log.read([topic], follow=True):
            self.ids[dict(record.headers)["ce_id"].decode()] += 1
            if self._keeps:
                await self.fresh.put(record)


async def answering(spine: Spine, arrived: Followed) -> None:
    """In the place of all stages: whatever arrives is delivered at once."""
    await spine.log.apply({}, {}, ["answers"])
    async with spine.log.source("answers") as source:
        while records := await arrived.take():
            answers = await asyncio.gather(*(_answer(spine, record) for record in records))
            await source.append(answers, source.position + len(answers))


async def _answer(spine: Spine, record: Record) -> Any:
    head = head_of(record)
    key = await spine.keys.key(head.person)
    decode(record, head, key)  # raises if the key is not the person's
    sound = random.Random(record.key).randbytes(SOUND_BYTES)
    event = _delivered(head.person, record.key, sound)
    await spine.store.put(event.audio.key, sound, "audio/mpeg")
    return encode(event, head.child(topic_of(event), 0, event.TYPE), key)


def _delivered(person: UUID, job: str, sound: bytes) -> SpeechDelivered:
    return SpeechDelivered(
        audio=Audio(
            key=f"delivered/{person}/{job}",
            sha256=sha256(sound).hexdigest(),
            bytes=len(sound),
            seconds=10,
            sample_rate=24_000,
        ),
        format=AudioFormat.MP3,
        spoken=SPOKEN,
        label=Label(aigc="{}", producer="none", produce_id=job),
    )


class Watched:
    """The bridge under way: how far it is, how much memory it takes, and how often it died."""

    def __init__(self, bridge: StageProcess) -> None:
        self.bridge, self.kills = bridge, 0
        self.memory: list[int] = []

    def look(self) -> None:
        """Note the resident memory, in MiB; `ServerFailed` where it ended by itself."""
        if (status := self.bridge.ended_with) is not None:
            raise ServerFailed(f"the bridge ended with {status}\n{self.bridge.log_tail()}")
        with suppress(OSError, ValueError):
            pages = int(Path(f"/proc/{self.bridge.pid}/statm").read_text().split()[1])
            self.memory.append(pages * os.sysconf("SC_PAGE_SIZE") // 2**20)

    def told(self) -> dict[str, int]:
        """Resident memory early on and at its highest."""
        return {"early": self.memory[len(self.memory) // 10], "most": max(self.memory)}

    def die(self) -> None:
        """SIGKILL, and a start again."""
        self.bridge.kill()
        self.bridge.launch()
        self.kills += 1


async def seconds_until(
    topic: Followed,
    jobs: int,
    watched: Watched,
    begun: float,
    deaths: list[float],
    answers: asyncio.Task[None],
) -> float:
    """Seconds since `begun` until as many events as jobs are there."""
    while not topic.reaches(jobs):
        if answers.done():
            answers.result()  # raises: it never ends by itself
        watched.look()
        if deaths and time.monotonic() - begun > deaths[0]:
            deaths.pop(0)
            watched.die()
        await asyncio.sleep(0.2)
    return time.monotonic() - begun


@asynccontextmanager
async def both(opened: Shop) -> AsyncIterator[tuple[Spine, Spine]]:
    """The two ends, opened here."""
    async with open_spine(opened.edge) as edge, open_spine(opened.cluster) as cluster:
        yield edge, cluster


async def cross(opened: Shop, jobs: int, kills: int, seed: int) -> dict[str, Any]:
    """One run, whole."""
    draw = random.Random(seed)
    deaths = sorted(draw.uniform(5, 5 + 6 * kills) for _ in range(kills))
    async with both(opened) as (edge, cluster):
        await backlog(edge, jobs, seed)
        there, here = Followed(cluster.log, UP, keeps=True), Followed(edge.log, DOWN, keeps=False)
        answers = asyncio.create_task(answering(cluster, there))
        watched, begun = Watched(opened.bridge), time.monotonic()
        opened.bridge.launch()
        try:
            up = await seconds_until(there, jobs, watched, begun, deaths, answers)
            down = await seconds_until(here, jobs, watched, begun, deaths, answers)
            watched.die()
            await backlog(edge, AFTERWARDS, seed + 1)
            for topic in (there, here):
                await seconds_until(topic, jobs + AFTERWARDS, watched, begun, [], answers)
        finally:
            for task in (there, here):
                await task.close()
            answers.cancel()
            await asyncio.gather(answers, return_exceptions=True)
        ids = [await counted(cluster.log, UP), await counted(edge.log, DOWN)]
        found = {stat.key async for stat in edge.store.list("delivered/")}
    return {
        "jobs": jobs,
        "kills": watched.kills,
        "lost": sum(jobs + AFTERWARDS - len(each) for each in ids),
        "duplicated": sum(count > 1 for each in ids for count in each.values()),
        "audio_missing": jobs + AFTERWARDS - len(found),
        "seconds_up": round(up, 1),
        "seconds_both_ways": round(down, 1),
        "resident_mib": watched.told(),
    }


async def counted(log: Log, topic: str) -> Counter[str]:
    """How often each event id stands in a topic."""
    return Counter([dict(r.headers)["ce_id"].decode() async for r in log.read([topic])])


def main() -> int:
    """Run and print; 0 only if nothing was lost or doubled."""
    parser = argparse.ArgumentParser(prog="python -m tests.bridge", description=__doc__)
    parser.add_argument("--backlog", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="voxrelay-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)  # PostgreSQL may be another user
        with shop(Path(folder)) as opened:
            said = asyncio.run(cross(opened, asked.backlog, asked.kills, asked.seed))
    print(json.dumps(said, indent=None if asked.json else 2))
    return int(any(said[what] for what in ("lost", "duplicated", "audio_missing")))


if __name__ == "__main__":
    sys.exit(main())
