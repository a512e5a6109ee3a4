"""A stage process whose models are stand-ins: `python -m tests.faults.stage NAME`.

Knows how long a model takes: mostly no time, and sometimes long, so that answers come out of order.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path

import numpy as np

from moderation.hearing import Hearing, Samples
from moderation.policy import load_policy
from moderation.settings import ModerationSettings
from moderation.stage import Moderation
from relay.errors import BadRecord
from relay.process import Build, run_main, run_stage
from relay.runner import Limits
from relay.settings import Settings
from relay.spine import Spine
from relay.stage import Stage
from synth.stage import Synth
from synth.voice import Speech, SpeechRequest, Spoken
from tests.faults.mortal import Arms, Mortal, install, install_ingest
from voxrelay.stages import run

log = logging.getLogger(__name__)

LIMITS = Limits(in_flight=8, waiting=32)
RATE = 24_000
SLOW = re.compile(r"慢(\d+)")
"""In a text: speaking it takes so many seconds."""
UNSPEAKABLE = "说不出"
"""In a text: no voice can speak it, so its job fails."""
BEGINS = "begins to speak %s"


def a_while(most: float) -> float:
    """Seconds that something takes: up to `most`, and now and then ten times as long."""
    return random.uniform(0, most) * (10 if random.random() < 0.1 else 1)


class StandInEar:
    """Hears the same in the same sound, after a while that differs from clip to clip."""

    model = "stand-in"
    digest = "ear-1"

    async def hear(self, samples: Samples, language: str | None) -> Hearing:
        """Words that follow from the samples."""
        seen = sha256(samples.tobytes()).hexdigest()[:8]
        await asyncio.sleep(a_while(0.2))
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
        log.info(BEGINS, request.request_id)
        if UNSPEAKABLE in request.text:
            raise BadRecord("text_unspeakable", "Please choose other words.")
        slow = SLOW.search(request.text)
        await asyncio.sleep(float(slow[1]) if slow else a_while(0.4))
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


def be(name: str, arms: Path, session: float) -> None:
    """Be the mortal process called `name`; a dash and a number tell it from others of its stage."""
    stage = name.partition("-")[0]
    mortal = Mortal(Arms(arms), name)
    install(mortal.reach, session)
    if stage == "ingest":
        install_ingest(mortal.reach)
    main(stage)


def main(name: str) -> None:
    """Run the stage called `name` as this process."""
    builds = {"moderation": moderation, "synth": synth}
    if name in builds:
        run_stage(builds[name](), LIMITS)
    else:
        run_main(lambda: run([name], Settings()))


if __name__ == "__main__":
    main(sys.argv[1])
