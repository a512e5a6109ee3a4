"""The phase of the plan that is about the whole relay: engine and Whisper in one process, around
them the doors, the stages and the embedded log.

Everything is real but the weights: the engine speaks so many tokens as it is told, and what Whisper
hears is replaced, after it has heard, by words that pass the policy.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from unittest import mock

import numpy as np
import torch

from benchmarks.cosyvoice3.measure import LENGTH, random_networks
from benchmarks.cosyvoice3.plan import Ask, Line
from benchmarks.cosyvoice3.whispers import whisper_of
from moderation.hearing import Hearing, Samples
from moderation.policy import load_policy
from moderation.stage import Moderation
from moderation.weights import Loaded
from moderation.whisper import Whisper
from relay import flac
from relay.limits import Limits
from relay.process import run_workers, runner_of
from relay.settings import Settings as RelaySettings
from relay.spine import Spine, open_spine
from synth.cosyvoice3 import Engine, Recording, Request, Settings, tiny
from synth.cosyvoice3.checkpoint import Precision
from synth.cosyvoice3.engine import assemble
from synth.cosyvoice3.frontend import Frontend, Prepared
from synth.cosyvoice3_voice import CosyVoice3Settings, CosyVoice3Voice
from synth.stage import Synth
from voxrelay.stages import open_workers
from voxrelay.up import answers, environment, free_port, prepare
from voxrelay_client import AsyncClient

SHARE_OF_ENGINE = 0.6
"""Of the GPU's free memory; Whisper takes what it needs of the rest."""
JOBS, FEWEST = 3, 20
"""Jobs of every user, one after another, and of all together at least."""
_EXAMPLE = Path(__file__).parents[2] / "examples" / "mandarin.flac"
_TEXT = "今天天气很好，我们一起去公园散步吧。"
_HEARD = Hearing(
    text="希望你以后能够做得比我还好。",
    language="zh",
    language_probability=0.99,
    no_speech_prob=0.01,
    avg_logprob=-0.2,
    compression_ratio=1.2,
    seconds=5.0,
)


class Forced(Frontend):
    """Speech of exactly so many tokens, whatever the text."""

    def __init__(self, folder: Path, tokens: int) -> None:
        super().__init__(folder)
        self._tokens = tokens

    def prepare(self, request: Request) -> Prepared:
        """As ever, but for the length of what is spoken."""
        prepared = super().prepare(request)
        one = replace(prepared.pieces[0], least=self._tokens, most=self._tokens)
        return replace(prepared, pieces=(one,))


class Voice(CosyVoice3Voice):
    """The adapter as it is, over an engine that is there already."""

    def __init__(self, folder: Path, engine: Engine) -> None:
        super().__init__(None, CosyVoice3Settings(folder=folder, unaccepted=True))
        self._engine = engine

    async def start(self) -> None:
        """Nothing is left to load."""


class Ear:
    """Hears as Whisper does, and says what passes."""

    def __init__(self, whisper: Whisper) -> None:
        self.whisper = whisper
        self.model, self.digest = whisper.model, whisper.digest

    async def hear(self, audio: Samples, language: str | None) -> Hearing:
        await self.whisper.hear(audio, language)
        return _HEARD


def relay(ask: Ask) -> Iterator[Line]:
    """The engine alone, then the relay around it, at rising numbers of users."""
    found: asyncio.Queue[Line | None] = asyncio.Queue()
    with asyncio.Runner() as runner:
        ending = runner.get_loop().create_task(_relay(ask, found.put_nowait))
        ending.add_done_callback(lambda _: found.put_nowait(None))
        while line := runner.run(found.get()):
            yield line  # as it comes: the rest stands still meanwhile
        ending.result()


async def _relay(ask: Ask, tell: Callable[[Line], None]) -> None:
    users, seconds, fewest = ((1, 16, 64), 8.0, FEWEST) if ask.released else ((1, 2), 0.4, 1)
    sent = {crowd: partial(recordings, crowd, max(JOBS, -(-fewest // crowd))) for crowd in users}
    with tempfile.TemporaryDirectory(prefix="voxrelay-gpu-") as folder:
        model, data = Path(folder) / "model", Path(folder) / "data"
        tiny.write(model)
        engine = _engine(ask, model, int(25 * seconds))
        try:
            alone = {}
            for crowd in users:
                await _alone(engine, sent[crowd](0), seconds)  # steps recorded, memory taken
                alone[crowd] = await _alone(engine, sent[crowd](1), seconds)
                tell({"what": "engine alone", "users": crowd, "alone": alone[crowd]})
            async with _standing(ask, engine, model, data) as url:
                for crowd in users:
                    if ask.left <= 0:
                        tell({"users": crowd, "skipped": "no time is left"})
                        continue
                    await _users(url, sent[crowd](2 * crowd), seconds)  # Whisper's kernels chosen
                    found = await _users(url, sent[crowd](2 * crowd + 1), seconds)
                    rate = float(found["audio_seconds_per_second"])
                    share = round(rate / alone[crowd], 3)
                    tell(found | {"alone": alone[crowd], "share_of_engine": share})
        finally:
            await asyncio.to_thread(engine.close)


def _engine(ask: Ask, folder: Path, tokens: int) -> Engine:
    gpu = ask.device.type == "cuda"
    memory = int(torch.cuda.mem_get_info(ask.device)[0] * SHARE_OF_ENGINE) if gpu else None
    settings = Settings(str(ask.device), ask.precision, 128 if gpu else 4, LENGTH, memory)
    networks = random_networks(ask.released, ask.device, Precision(ask.precision))
    return Engine(Forced(folder, tokens), assemble(networks, settings, ask.device))


async def _alone(engine: Engine, sent: list[list[bytes]], seconds: float) -> float:
    """Audio seconds per second of the engine, each caller with a voice after another."""
    voices = [[flac.read_flac(each) for each in those] for those in sent]

    async def caller(sounds: list[flac.Sound]) -> None:
        for sound in sounds:
            voice = Recording(sound.samples, sound.rate, _HEARD.text)
            await engine.say(Request(_TEXT, voice))

    begun = time.perf_counter()
    await asyncio.gather(*map(caller, voices))
    return round(sum(map(len, voices)) * seconds / (time.perf_counter() - begun), 3)


@asynccontextmanager
async def _standing(ask: Ask, engine: Engine, model: Path, data: Path) -> AsyncIterator[str]:
    """The relay in this process; its door's address."""
    port = free_port()
    with mock.patch.dict(os.environ, environment(data, port)):
        settings = RelaySettings()
        await prepare(settings)
        async with (
            open_spine(settings) as spine,
            open_workers(["ingest", "delivery"], spine) as workers,
        ):
            name = "base" if ask.released else "tiny"
            heard = whisper_of(name, ask.device)
            whisper = Whisper(Loaded(heard, name, "", "random"), batch=64)
            stages = _stages(spine, Ear(whisper), Voice(model, engine))
            everybody = [*workers, *(runner_of(s, spine, Limits(in_flight=128)) for s in stages)]
            running = asyncio.create_task(run_workers(everybody))
            try:
                await answers(port)
                yield f"http://127.0.0.1:{port}"
            finally:
                for worker in everybody:
                    worker.stop()
                await running
                await whisper.close()


def _stages(spine: Spine, ear: Ear, voice: Voice) -> tuple[Moderation, Synth]:
    return Moderation(ear, load_policy(None), spine.store), Synth(voice, spine.store)


async def _users(url: str, sent: list[list[bytes]], seconds: float) -> Line:
    """From the tap to sound that can be played, for users who each send job after job."""
    waits: list[float] = []

    async def user(sounds: list[bytes]) -> None:
        async with AsyncClient(url, language="zh") as client:
            for sound in sounds:
                begun = time.perf_counter()
                job = await client.send(_TEXT, sound)
                done = await client.wait(job.job_id)
                if done.audio is None:
                    raise RuntimeError(f"a job ended as {done.state}: {done.why}")
                await client.audio(done)
                waits.append(time.perf_counter() - begun)

    begun = time.perf_counter()
    await asyncio.gather(*map(user, sent))
    wall = time.perf_counter() - begun
    waits.sort()
    return {
        "users": len(sent),
        "jobs": len(waits),
        "audio_seconds_per_second": round(len(waits) * seconds / wall, 3),
        "playable_median": round(median(waits), 3),
        "playable_p95": round(waits[min(len(waits) - 1, int(0.95 * len(waits)))], 3),
    }


def recordings(crowd: int, jobs: int, series: int) -> list[list[bytes]]:
    """For each of so many users five seconds of somebody for every job, never the same twice."""
    sound = flac.read_flac(_EXAMPLE.read_bytes())

    def one(n: int) -> bytes:
        samples = np.resize(np.roll(sound.samples, -97 * n), 5 * sound.rate)
        return flac.write_flac(flac.Sound(samples * (1 - series / 1000), sound.rate))

    return [[one(user * jobs + job) for job in range(jobs)] for user in range(crowd)]
