"""The phase of the plan that is about hearing: our ear against a loop of `whisper.transcribe`.

Both on one model of released size, random weights and one device, turn by turn. The model never
finds the end of a text: both stop where they are told to, at the same count of tokens. The loop is
spared what times of random words would bring it: a clip is one window, heard once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any
from unittest import mock

import numpy as np

from benchmarks.cosyvoice3.plan import Ask, Line
from benchmarks.cosyvoice3.whispers import whisper_of
from moderation import whisper as ours
from moderation.hearing import SAMPLE_RATE, Samples
from moderation.weights import Loaded

SECONDS = 5
TOKENS = 25
"""What somebody says in 5 s, in tokens."""


def hearing(ask: Ask) -> Iterator[Line]:
    """Clips a second of either, for each size; the loop hears fewer clips, as it takes longer."""
    clips, looped, batch = (256, 8, 64) if ask.released else (2, 1, 2)
    for name in ("base", "turbo") if ask.released else ("tiny",):
        if ask.left <= 0:
            yield {"model": name, "skipped": "no time is left"}
            continue
        model = whisper_of(name, ask.device)
        ear = ours.Whisper(Loaded(model, name, "", "random"), batch=batch)
        said = [noise(index) for index in range(clips)]
        with mock.patch.object(ours, "_most_tokens", return_value=TOKENS):
            asyncio.run(_heard(ear, said[:batch]))  # kernels are chosen for the whole batch
            fast = clips / asyncio.run(_heard(ear, said))
        _loop(model, said[:1])
        slow = looped / _loop(model, said[:looped])
        asyncio.run(ear.close())
        yield {
            "model": name,
            "batch": batch,
            "ours_clips_per_second": round(fast, 3),
            "loop_clips_per_second": round(slow, 3),
            "times": round(fast / slow, 2),
        }


def noise(seed: int) -> Samples:
    """A clip in which nobody says anything."""
    wave = np.random.default_rng(seed).standard_normal(SECONDS * SAMPLE_RATE)
    return (0.1 * wave).astype(np.float32)


async def _heard(ear: ours.Whisper, said: list[Samples]) -> float:
    begun = time.perf_counter()
    await asyncio.gather(*(ear.hear(clip, None) for clip in said))
    return time.perf_counter() - begun


def _loop(model: Any, said: list[Samples]) -> float:
    """One clip after another through `transcribe`; no second try at another temperature."""
    begun = time.perf_counter()
    for clip in said:
        model.transcribe(
            clip,
            fp16=model.device.type == "cuda",
            temperature=0.0,
            sample_len=TOKENS,
            without_timestamps=True,
        )
    return time.perf_counter() - begun
