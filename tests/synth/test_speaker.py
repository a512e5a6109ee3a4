"""Who is speaking."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soxr

from synth.kokoro.voice import RATE, VOICES, _Loaded, nearest, say
from synth.speaker import SIZE
from tests.synth.conftest import recording

RESEMBLYZER = json.loads((Path(__file__).parent / "data" / "resemblyzer.json").read_text())
"""What Resemblyzer 0.1.4 itself says of the examples, its own pauses and resampling included."""


@pytest.mark.parametrize("name", sorted(RESEMBLYZER))
def test_agrees_with_resemblyzer(loaded: _Loaded, name: str) -> None:
    sound = recording(name)
    ours = loaded.encoder.embed(sound.samples, sound.rate)
    theirs = np.array(RESEMBLYZER[name])
    assert ours.shape == (SIZE,)
    assert float(ours @ theirs / np.linalg.norm(theirs)) > 0.97


def test_two_people_are_less_alike_than_one_with_herself(loaded: _Loaded) -> None:
    he, she, again = (
        loaded.encoder.embed(s.samples, s.rate)
        for s in (recording("mandarin"), recording("english"), recording("mixed"))
    )
    assert float(she @ again) > float(he @ she) + 0.1


@pytest.mark.parametrize("rate", [8_000, 16_000, 48_000])
def test_rate_and_level_hardly_matter(loaded: _Loaded, rate: int) -> None:
    sound = recording("mandarin")
    known = loaded.encoder.embed(sound.samples, sound.rate)
    other = soxr.resample(sound.samples * 0.01, sound.rate, rate).astype(np.float32)
    assert float(known @ loaded.encoder.embed(other, rate)) > (0.8 if rate < 16_000 else 0.97)


@pytest.mark.parametrize("sound", [np.zeros(24_000), np.ones(24_000), np.eye(1, 24_000)[0]])
def test_what_is_no_voice_still_gets_an_answer(loaded: _Loaded, sound: np.ndarray) -> None:
    embedding = loaded.encoder.embed(sound.astype(np.float32), RATE)
    assert np.isfinite(embedding).all()


@pytest.mark.parametrize("voice", VOICES)
def test_each_voice_is_nearest_to_itself(loaded: _Loaded, voice: str) -> None:
    piece = loaded.reader.pieces("我们明天早上见面，请不要迟到。")[0]
    assert nearest(loaded, say(loaded, piece, voice, 1.0), RATE) == voice
