"""What can be measured without a model."""

from __future__ import annotations

import numpy as np
import pytest

from moderation import audio
from moderation.hearing import SAMPLE_RATE, Samples, Sound
from relay import flac
from relay.errors import BadRecord

TIME = np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE


def tone(amplitude: float) -> Samples:
    return (amplitude * np.sin(2 * np.pi * 200 * TIME)).astype(np.float32)


def with_pause(clip: Samples) -> Samples:
    clip = clip.copy()
    clip[: len(clip) // 4] = 0
    return clip


@pytest.mark.parametrize(
    ("clip", "level", "floor", "clipped"),
    [
        (tone(1.0) * 0.5, -9.03, -9.03, 0.0),
        (tone(0.01), -43.0, -43.0, 0.0),
        (with_pause(tone(0.5)), -9.03, -120.0, 0.0),
        (np.zeros(SAMPLE_RATE, np.float32), -120.0, -120.0, 0.0),
        (np.sign(tone(1.0)), 0.0, 0.0, 1.0),
        (np.zeros(0, np.float32), -120.0, -120.0, 0.0),
        (np.zeros(100, np.float32), -120.0, -120.0, 0.0),
    ],
    ids=["loud", "soft", "pause", "silent", "square", "nothing", "less than a frame"],
)
def test_levels(clip: Samples, level: float, floor: float, clipped: float) -> None:
    sound = audio.measure(clip)
    assert sound.level == pytest.approx(level, abs=0.3)
    assert sound.floor == pytest.approx(floor, abs=0.3)
    assert sound.clipped == pytest.approx(clipped, abs=0.02)
    assert sound.seconds == pytest.approx(len(clip) / SAMPLE_RATE, abs=0.001)


def test_speech_has_range() -> None:
    assert Sound(seconds=1, level=-20, floor=-65, clipped=0).range == 45


@pytest.mark.parametrize("rate", [8_000, 16_000, 24_000, 44_100, 48_000])
def test_a_recording_of_any_rate_is_read_at_ours(rate: int) -> None:
    wave = (0.5 * np.sin(2 * np.pi * 200 * np.arange(2 * rate) / rate)).astype(np.float32)
    samples = audio.read(flac.write_flac(flac.Sound(wave, rate)))
    assert samples.dtype == np.float32
    assert len(samples) == pytest.approx(2 * SAMPLE_RATE, abs=2)
    np.testing.assert_allclose(samples[8000:24000], tone(0.5)[8000:24000], atol=0.01)


@pytest.mark.parametrize("data", [b"", b"not a sound", b"fLaC" + bytes(60)])
def test_what_is_no_sound_is_a_bad_record(data: bytes) -> None:
    with pytest.raises(BadRecord) as bad:
        audio.read(data)
    assert bad.value.code == "sound_unreadable"
