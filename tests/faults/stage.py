"""A stage process whose models are stand-ins: `python -m tests.faults.stage NAME`."""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256

import numpy as np

from moderation.hearing import Hearing, Samples
from moderation.policy import load_policy
from moderation.settings import ModerationSettings
from moderation.stage import Moderation
from relay.process import Build, run_main, run_stage
from relay.runner import Limits
from relay.settings import Settings
from relay.spine import Spine
from relay.stage import Stage
from synth.stage import Synth
from synth.voice import Speech, SpeechRequest, Spoken
from voxrelay.stages import run

LIMITS = Limits(in_flight=8, waiting=32)
RATE = 24_000


class StandInEar:
    """Hears the same in the same sound, after a while that differs from clip to clip."""

    model = "stand-in"
    digest = "ear-1"

    async def hear(self, samples: Samples, language: str | None) -> Hearing:
        """Words that follow from the samples."""
        seen = sha256(samples.tobytes()).hexdigest()[:8]
        await asyncio.sleep(random.uniform(0, 0.2))
        return Hearing(
            text=f"大家好{seen}",
            language=language or "zh",
            language_probability=1.0,
            no_speech_prob=0.0,
            avg_logprob=-0.1,
            compression_ratio=1.0,
            seconds=len(samples) / 16_000,
        )

    async def close(self) -> None:
        """Nothing was opened."""


class StandInVoice:
    """A tone that follows from the text, never twice the same to the bit: as a GPU's would be."""

    digest = "voice-1"

    async def start(self) -> None:
        """Nothing to load."""

    async def ready(self) -> None:
        """Always."""

    async def speak(self, request: SpeechRequest) -> Speech:
        """Half a second of tone, after a while."""
        await asyncio.sleep(random.uniform(0, 0.4))
        tone = 200 + int(sha256(request.text.encode()).hexdigest()[:4], 16) % 800
        time = np.arange(RATE // 2) / RATE
        noise = np.random.default_rng().normal(0, 1e-3, len(time))
        samples = (0.3 * np.sin(2 * np.pi * tone * time) + noise).astype(np.float32)
        spoken = Spoken(
            engine="stand-in", voice="tone", version="1", digest="1", device="cpu", cloned=False
        )
        return Speech(samples, RATE, spoken)

    async def aclose(self) -> None:
        """Nothing was opened."""


def moderation() -> Build:
    """Moderation with the stand-in ear and the real policy."""

    @asynccontextmanager
    async def opened(spine: Spine) -> AsyncIterator[Stage]:
        yield Moderation(StandInEar(), load_policy(ModerationSettings().policy), spine.store)

    return opened


def synth() -> Build:
    """Synth with the stand-in voice."""

    @asynccontextmanager
    async def opened(spine: Spine) -> AsyncIterator[Stage]:
        yield Synth(StandInVoice(), spine.store)

    return opened


def main(name: str) -> None:
    """Run the stage called `name` as this process."""
    builds = {"moderation": moderation, "synth": synth}
    if name in builds:
        run_stage(builds[name](), LIMITS)
    else:
        run_main(lambda: run([name], Settings()))


if __name__ == "__main__":
    main(sys.argv[1])
