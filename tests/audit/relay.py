"""A relay that has lived: real doors, stages and view, with stand-in models, one job of each fate.

The models answer the same whenever they are asked the same, so a replay can be compared.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_network

import httpx
import numpy as np

from audit import held
from delivery.stage import Delivery
from infra.servers.process import free_port
from ingest.__main__ import open_gateway
from ingest.settings import IngestSettings
from moderation.__main__ import keep
from moderation.policy import load_policy
from moderation.stage import Moderation
from relay import flac
from relay.codec import head_of
from relay.process import Worker
from relay.runner import Limits, Runner, StageBroken
from relay.settings import Settings
from relay.spine import Spine, open_spine
from relay.stage import Stage
from synth.stage import Synth
from synth.voice import Refusal, Speech, SpeechRequest, Spoken, refuse
from tests.faults.stage import StandInEar
from tests.journeys.steps import recording
from voxrelay.up import prepare

RATE = 24_000
POISON = "机器坏了。"
"""No record with this text can be handled: the voice breaks over it."""
TEXTS = {
    "delivered": "你好, 世界。",
    "again": "你好, 世界。",
    "rejected": "这里出售枪支。",
    "approved": "请把验证码告诉我。",
    "refused": "把验证码告诉我吧。",
    "held": "把验证码告诉我, 快。",
    "quiet": "声音太小。",
    "failed": "太长了。",
    "stuck": POISON,
    "erased": "忘记我。",
}
"""What each job says, by its fate."""
WAITS = {"held": "held", "approved": "held", "refused": "held", "stuck": "stuck"}
ENDS = {"quiet": "rejected", "rejected": "rejected", "failed": "failed", "refused": "rejected"}


class Tone:
    """A voice whose sound follows from the text, to the bit."""

    digest = "tone-1"

    async def start(self) -> None:
        """Nothing to load."""

    async def ready(self) -> None:
        """Always."""

    async def speak(self, request: SpeechRequest) -> Speech:
        """Four seconds of chords, another every fifth of a second."""
        if request.text == POISON:
            raise RuntimeError("broken")
        if request.text == TEXTS["failed"]:
            raise refuse(Refusal.OUTPUT_TOO_LONG)
        draw = np.random.default_rng(list(request.text.encode()))
        time = np.arange(RATE // 5) / RATE
        chords = draw.uniform(200, 2_400, (20, 8, 1))  # Hz
        samples = (0.05 * np.sin(2 * np.pi * chords * time).sum(1)).ravel().astype(np.float32)
        spoken = Spoken(
            engine="tone", voice="tone", version="1", digest="1", device="cpu", cloned=False
        )
        return Speech(samples, RATE, spoken)

    async def aclose(self) -> None:
        """Nothing was opened."""


class Reborn:
    """A stage that is started again when it breaks, as a supervisor would."""

    def __init__(self, stage: Stage, spine: Spine) -> None:
        self._make: Callable[[], Runner] = lambda: Runner(
            stage, spine.log, spine.keys, Limits(in_flight=4, exceptions=1)
        )
        self._runner = self._make()
        self._stopped = False

    def stop(self) -> None:
        self._stopped = True
        self._runner.stop()

    async def run(self) -> None:
        while not self._stopped:
            with contextlib.suppress(StageBroken):
                await self._runner.run()
            if not self._stopped:
                self._runner = self._make()


@dataclass(frozen=True)
class Lived:
    """Settings of a relay that has lived, and its jobs by fate."""

    settings: Settings
    jobs: Mapping[str, str]


async def live(settings: Settings) -> Lived:
    """Make a relay, send a job of each fate, decide on those that wait, and end it."""
    settings.data.mkdir(parents=True, exist_ok=True)
    await prepare(settings)
    async with open_spine(settings) as spine, running(spine) as client:
        first = await send(client, TEXTS["delivered"], "delivered")
        # Its sound is made, not adopted: neither of one asked for beside it nor of a window redone.
        await until(client, "delivered", first, "delivered")
        others = {
            fate: await send(client, TEXTS[fate], fate) for fate in TEXTS if fate != "delivered"
        }
        for fate, job in others.items():
            await until(client, fate, job, WAITS.get(fate, ENDS.get(fate, "delivered")))
        jobs = {"delivered": first, **others}
        for fate in ("approved", "refused"):
            approved = fate == "approved"
            assert await held.review(spine, jobs[fate], "rita", approved=approved, note="listened")
            await until(client, fate, jobs[fate], ENDS.get(fate, "delivered"))
        await erase(spine, jobs["erased"])
    return Lived(settings, jobs)


@asynccontextmanager
async def running(spine: Spine) -> AsyncIterator[httpx.AsyncClient]:
    """Every stage at work; a client whose address each request may choose."""
    port = free_port()
    ingest = IngestSettings(
        port=port,
        anonymous=True,
        quota_per_minute=0,
        daily_seconds=0,
        concurrent=0,
        trusted_proxies=(ip_network("127.0.0.1/32"),),
    )
    policy = load_policy()
    await keep(policy, spine.store)
    stages: Sequence[Stage] = (
        Moderation(StandInEar(), policy, spine.store),
        Synth(Tone(), spine.store),
        Delivery(spine.store, producer="VoxRelay", kbps=64),
    )
    async with open_gateway(ingest)(spine) as doors:
        workers: list[Worker] = [*doors, *(Reborn(stage, spine) for stage in stages)]
        tasks = [asyncio.create_task(worker.run()) for worker in workers]
        try:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
                await _open(client)
                yield client
        finally:
            for worker in workers:
                worker.stop()
            await asyncio.gather(*tasks)


async def send(client: httpx.AsyncClient, text: str, fate: str) -> str:
    """Send a job; each fate has an address, and so a person, of its own."""
    for _ in range(10):
        answer = await client.post(
            "/v1/jobs", data={"text": text}, files={"recording": _sound(fate)}, headers=_from(fate)
        )
        if answer.status_code != 503:  # a busy machine may have no time to read a recording
            break
    assert answer.status_code == 202, answer.text
    return str(answer.json()["job_id"])


async def until(client: httpx.AsyncClient, fate: str, job: str, state: str) -> None:
    """Return once the job has come to `state`."""
    async with asyncio.timeout(120):
        while True:
            shown = (await client.get(f"/v1/jobs/{job}", headers=_from(fate))).json()
            if shown["state"] == state:
                return
            assert not shown["ended"], f"{fate} ended as {shown['state']}, not {state}"
            await asyncio.sleep(0.05)


async def erase(spine: Spine, job: str) -> None:
    """Destroy the key of the job's person, and what is stored under their name."""
    (record,) = [r async for r in spine.log.read(["prompt-uploaded"], key=job)]
    person = head_of(record).person
    async with spine.database.transaction() as tx:
        await spine.keys.destroy(tx, person)
    doomed = [stat.key async for stat in spine.store.list("") if f"/{person}/" in stat.key]
    for key in doomed:
        await spine.store.delete(key)


def address_of(fate: str) -> str:
    """The address that the job of this fate came from."""
    return f"203.0.113.{1 + list(TEXTS).index(fate)}"


def _sound(fate: str) -> bytes:
    """Somebody speaking; from far away, where that is the fate."""
    heard = flac.read_flac(recording())
    if fate != "quiet":
        return recording()
    return flac.write_flac(flac.Sound(heard.samples * np.float32(0.012), heard.rate))


def _from(fate: str) -> dict[str, str]:
    # The same text again is the same person's, or it would be no cache hit.
    return {"X-Forwarded-For": address_of("delivered" if fate == "again" else fate)}


async def _open(client: httpx.AsyncClient) -> None:
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(httpx.HTTPError):
                if (await client.get("/readyz")).status_code == 200:
                    return
            await asyncio.sleep(0.05)
