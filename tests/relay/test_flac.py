"""Mono FLAC, the form of every stored sound."""

from __future__ import annotations

import io

import av
import numpy as np
import pytest

from relay.errors import BadRecord
from relay.flac import Sound, read_facts, read_flac, write_flac


def tone(seconds: float, rate: int) -> np.ndarray:
    return (0.5 * np.sin(np.arange(int(seconds * rate)) / rate * 2764)).astype(np.float32)


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 24_000, 48_000])
def test_what_was_written_is_read(rate: int) -> None:
    samples = tone(3.21, rate)
    data = write_flac(Sound(samples, rate, {"voice": "v", "name": "声音 = 1"}))
    read = read_flac(data)
    assert (read.rate, len(read.samples)) == (rate, len(samples))
    assert np.abs(read.samples - samples).max() < 1e-4
    facts = read_facts(data)
    assert (facts.rate, facts.tags) == (rate, {"voice": "v", "name": "声音 = 1"})
    assert facts.seconds == pytest.approx(3.21, abs=1e-3)


def test_equal_sounds_give_equal_bytes() -> None:
    assert write_flac(Sound(tone(1, 24_000), 24_000)) == write_flac(Sound(tone(1, 24_000), 24_000))


def test_what_is_too_loud_is_cut() -> None:
    read = read_flac(write_flac(Sound(np.array([2, -2] * 800, np.float32), 16_000)))
    assert np.abs(read.samples).max() <= 1
    assert np.abs(read.samples).min() > 0.99


@pytest.mark.parametrize(("format_", "layout"), [("s32", "mono"), ("s16", "stereo")])
def test_other_flac_is_read_as_one_channel(format_: str, layout: str) -> None:
    file, samples = io.BytesIO(), tone(1, 16_000)
    channels = 2 if layout == "stereo" else 1
    scale = 2.0**31 if format_ == "s32" else 2.0**15
    block = np.repeat((samples * scale).astype("i4" if format_ == "s32" else "i2"), channels)
    with av.open(file, "w", format="flac") as container:
        stream = container.add_stream("flac", rate=16_000, layout=layout, format=format_)
        frame = av.AudioFrame.from_ndarray(block[None], format=format_, layout=layout)
        frame.sample_rate = 16_000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    read = read_flac(file.getvalue())
    assert len(read.samples) == len(samples)
    assert np.abs(read.samples - samples).max() < 1e-3


@pytest.mark.parametrize("cut", [0, 10, 5_000])
def test_a_damaged_file_is_a_bad_record(cut: int) -> None:
    data = write_flac(Sound(tone(1, 24_000), 24_000))
    with pytest.raises(BadRecord) as refused:
        read_flac(data[:cut] if cut < 100 else b"RIFF" + data[cut:])
    assert refused.value.code == "sound_unreadable"
