"""A sound is known again after what happens to sounds, and no other is taken for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.tracing.harm import HARMS, Samples
from relay import flac
from relay.fingerprint import ALIKE, Asked, take

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.flac"))
EDGE = 0.47
"""Seconds at the end that make no whole frame, step and phase."""
STRANGE = {"5 % faster"}
"""What a fingerprint does not survive."""


@pytest.fixture(scope="module")
def sounds() -> list[tuple[Samples, int]]:
    read = [flac.read_flac(path.read_bytes()) for path in EXAMPLES]
    assert len(read) > 1
    return [(sound.samples, sound.rate) for sound in read]


@pytest.mark.parametrize("harm", sorted(HARMS.keys() - STRANGE))
def test_a_sound_is_known_after(harm: str, sounds: list[tuple[Samples, int]]) -> None:
    kept = [take(*sound) for sound in sounds]
    for own, sound in enumerate(sounds):
        asked = Asked(*HARMS[harm](*sound))
        for other, fingerprint in enumerate(kept):
            assert asked.like(fingerprint).same == (own == other), (own, other)


def test_it_lies_where_it_was_cut_from(sounds: list[tuple[Samples, int]]) -> None:
    samples, rate = sounds[0]
    whole = Asked(samples, rate).like(take(samples, rate))
    assert whole.errors < 1e-9
    assert whole.seconds == pytest.approx(len(samples) / rate, abs=EDGE)
    cut = samples[rate : rate * 7 // 2]
    inside = Asked(cut, rate).like(take(samples, rate))
    assert inside.seconds == pytest.approx(len(cut) / rate, abs=EDGE)
    around = Asked(samples, rate).like(take(cut, rate))
    assert around.same
    assert around.seconds == pytest.approx(inside.seconds, abs=0.1)


def test_a_sound_between_strangers_is_found(sounds: list[tuple[Samples, int]]) -> None:
    (first, rate), (second, _) = sounds[:2]
    both = np.concatenate([second, first, second])
    found = Asked(both, rate).like(take(first, rate))
    assert found.same
    assert found.seconds == pytest.approx(len(first) / rate, abs=EDGE)


def test_too_little_is_like_nothing(sounds: list[tuple[Samples, int]]) -> None:
    samples, rate = sounds[0]
    kept, short = take(samples, rate), samples[: 2 * rate]
    assert not Asked(short, rate).long_enough
    assert Asked(short, rate).like(kept).errors > ALIKE
    assert Asked(samples, rate).like(take(short, rate)).errors > ALIKE
    assert take(samples[: rate // 3], rate) == ""
    assert not Asked(samples[:10], rate).long_enough


def test_silence_is_like_nothing_and_like_no_other_silence(
    sounds: list[tuple[Samples, int]],
) -> None:
    (samples, rate), (other, _) = sounds[:2]
    silence = np.zeros(5 * rate, np.float32)
    assert not Asked(silence, rate).like(take(silence, rate)).same
    paused = np.concatenate([samples, silence])
    assert not Asked(np.concatenate([silence, other]), rate).like(take(paused, rate)).same
    assert Asked(samples, rate).like(take(paused, rate)).same
