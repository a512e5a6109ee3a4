"""`python -m benchmarks.estimate`: of how many jobs the relay said rightly when they would end.

The embedded relay, whole, in one process, with stand-in models of varying cost, or with Whisper and
the demo voice. Jobs of all lengths come by themselves and in bursts; each is followed by its
events, and what it was told is held against when it ended. Prints one JSON document.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import httpx
from httpx_sse import aconnect_sse

from benchmarks.estimate.models import Cost, Ear, Voice
from benchmarks.machine import machine
from benchmarks.soak.load import recording
from delivery.stage import Delivery
from infra.servers.process import free_port
from ingest.__main__ import open_gateway
from ingest.settings import IngestSettings
from moderation import __main__ as moderation
from moderation.policy import load_policy
from moderation.settings import ModerationSettings
from moderation.stage import Moderation
from relay.process import Worker
from relay.runner import Limits, Runner
from relay.settings import Settings
from relay.spine import Spine, open_spine
from relay.stage import Stage
from synth import __main__ as synth
from synth.settings import SynthSettings
from synth.stage import Synth
from voxrelay.up import prepare

WITHIN = 0.3
_SENTENCE = "今天天气不错我想出去走一走顺便买点水果回来给大家吃然后再一起看一部电影"
_PERSONS = 8
_ALONE = 6
"""Jobs one after another that say how many a real voice can do."""


@dataclass
class Followed:
    """What one job was told, each with when, and when it ended."""

    told: list[tuple[float, float]] = field(default_factory=list)
    ended: float = 0.0

    def right(self) -> Sequence[bool]:
        """Whether it ended within so much of what it was told, each time."""
        return [abs(self.ended - at - told) <= WITHIN * told for at, told in self.told]


async def _run(slots: int, args: argparse.Namespace) -> dict[str, Any]:
    draw, cost = random.Random(args.seed), Cost(noise=args.noise)
    texts = [_text(n, draw) for n in range(args.warm + args.jobs)]
    with tempfile.TemporaryDirectory(prefix="voxrelay-bench-", dir=args.folder) as folder:
        settings = Settings(data=Path(folder))
        await prepare(settings)
        async with open_spine(settings) as spine:
            if args.real:
                async with _real(spine) as stages, _relay(spine, stages) as client:
                    mean = await _alone(client, [_text(n, draw) for n in range(-_ALONE, 0)])
                    followed = await _load(client, texts, mean, draw, args)
            else:
                mean = sum(map(cost.spoken, texts)) / len(texts) / slots
                stages = await _stand_ins(spine, Ear(cost, draw), Voice(cost, slots, draw))
                async with _relay(spine, stages) as client:
                    followed = await _load(client, texts, mean, draw, args)
    return _told(followed[args.warm :])


async def _stand_ins(spine: Spine, ear: Ear, voice: Voice) -> Sequence[Stage]:
    policy = load_policy()
    await moderation.keep(policy, spine.store)
    return Moderation(ear, policy, spine.store), Synth(voice, spine.store)


@asynccontextmanager
async def _real(spine: Spine) -> AsyncIterator[Sequence[Stage]]:
    """The stages with what the embedded relay hears and speaks with."""
    hearing = moderation.open_stage(ModerationSettings())
    speaking = synth.open_stage(SynthSettings())
    async with hearing(spine) as first, speaking(spine) as second:
        yield first, second


async def _alone(client: httpx.AsyncClient, texts: Sequence[str]) -> float:
    """Seconds that a job takes on the average, where there is no other."""
    begun = time.monotonic()
    for n, text in enumerate(texts):
        await _follow(client, n - len(texts), text)
    return (time.monotonic() - begun) / len(texts)


@asynccontextmanager
async def _relay(spine: Spine, before: Sequence[Stage]) -> AsyncIterator[httpx.AsyncClient]:
    port = free_port()
    free = {"quota_per_minute": 0, "daily_seconds": 0, "concurrent": 0}
    ingest = IngestSettings(
        port=port,
        anonymous=True,
        probe_seconds=10.0,
        trusted_proxies=(ip_network("127.0.0.1/32"),),
        **free,
    )
    stages = [*before, Delivery(spine.store, producer="VoxRelay", kbps=64)]
    async with open_gateway(ingest)(spine) as doors:
        runners = [Runner(stage, spine.log, spine.keys, Limits()) for stage in stages]
        workers: list[Worker] = [*doors, *runners]
        running = [asyncio.create_task(worker.run()) for worker in workers]
        try:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=600) as http:
                await _ready(http)
                yield http
        finally:
            for worker in workers:
                worker.stop()
            await asyncio.gather(*running)


async def _ready(client: httpx.AsyncClient) -> None:
    while True:
        with contextlib.suppress(httpx.HTTPError):
            if (await client.get("/readyz")).status_code == 200:
                return
        await asyncio.sleep(0.1)


async def _load(
    client: httpx.AsyncClient,
    texts: Sequence[str],
    mean: float,
    draw: random.Random,
    args: argparse.Namespace,
) -> list[Followed]:
    """Send jobs at the part of one in `mean` seconds that `args.load` says, and follow each."""
    tasks: list[asyncio.Task[Followed]] = []
    for n, text in enumerate(texts):
        tasks.append(asyncio.create_task(_follow(client, n, text)))
        if draw.random() > args.bursts:
            pause = mean / args.load / (1 - args.bursts)
            await asyncio.sleep(draw.expovariate(1 / pause))
    return await asyncio.gather(*tasks)


def _text(n: int, draw: random.Random) -> str:
    long = "".join(draw.choice(_SENTENCE) for _ in range(draw.randrange(4, 100)))
    return f"第{n}句：{long}。"


async def _follow(client: httpx.AsyncClient, n: int, text: str) -> Followed:
    head = {"X-Forwarded-For": f"203.0.113.{n % _PERSONS}"}
    sound = {"recording": recording(n)}
    answer = await client.post("/v1/jobs", data={"text": text}, files=sound, headers=head)
    while answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:  # others keep the machine busy
        await asyncio.sleep(1)
        answer = await client.post("/v1/jobs", data={"text": text}, files=sound, headers=head)
    answer.raise_for_status()
    found, path = Followed(), f"/v1/jobs/{answer.json()['job_id']}/events"
    async with aconnect_sse(client, "GET", path, headers=head) as source:
        async for said in source.aiter_sse():
            event, now = json.loads(said.data or "{}"), time.monotonic()
            if (seconds := event.get("queue", {}).get("seconds")) is not None:
                found.told.append((now, seconds))
            if "job" in event:
                found.ended = now
    return found


def _told(followed: Sequence[Followed]) -> dict[str, Any]:
    first = [each.right()[0] for each in followed if each.told]
    every = [right for each in followed for right in each.right()]
    off = sorted(
        abs(each.ended - at - told) / told for each in followed for at, told in each.told[:1]
    )
    return {
        "jobs": len(followed),
        "told_nothing": sum(not each.told for each in followed),
        "seconds_on_the_average": round(
            sum(each.ended - each.told[0][0] for each in followed if each.told) / len(first), 1
        ),
        "right_at_first": round(sum(first) / len(first), 3),
        "right_each_time": round(sum(every) / len(every), 3),
        "off": {name: round(off[int(q * (len(off) - 1))], 3) for name, q in _QUANTILES.items()},
    }


_QUANTILES = {"p50": 0.5, "p90": 0.9, "most": 1.0}


async def _all(args: argparse.Namespace) -> dict[str, Any]:
    found = {}
    for slots in [1] if args.real else args.slots:
        found[str(slots)] = await _run(slots, args)
        print(f"{slots} slots: {found[str(slots)]}", file=sys.stderr, flush=True)
    return {"machine": machine(), "options": vars(args), "within": WITHIN, "slots": found}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.estimate", description=__doc__)
    parser.add_argument("--jobs", type=int, default=100, help="that are counted")
    parser.add_argument("--warm", type=int, default=20, help="before, that are learnt from")
    parser.add_argument("--slots", type=int, nargs="+", default=[1, 4], help="texts at once")
    parser.add_argument("--real", action="store_true", help="Whisper base and the demo voice")
    parser.add_argument("--load", type=float, default=0.9, help="of what can be done")
    parser.add_argument("--bursts", type=float, default=0.5, help="chance that another comes along")
    parser.add_argument("--noise", type=float, default=0.2, help="sigma of a cost's logarithm")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", help="where data lies meanwhile (the system's temporary one)")
    return parser.parse_args()


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_all(_arguments())), indent=2))
