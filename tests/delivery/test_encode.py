"""Files, written and read back by another reader than the writer where there is one."""

from __future__ import annotations

import io
import wave

import av
import numpy as np
import pytest

from delivery.decide import plan
from delivery.encode import encode
from schemas.events import AudioFormat

FORMATS = list(AudioFormat)
CONTAINERS = {AudioFormat.WAV: "wav", AudioFormat.MP3: "mp3", AudioFormat.M4A: "m4a"}


def tone(seconds: float, rate: int) -> np.ndarray:
    return (0.5 * np.sin(np.arange(int(seconds * rate)) / rate * 2 * np.pi * 440)).astype("f4")


def decoded(data: bytes) -> tuple[np.ndarray, int, int, dict[str, str], str]:
    with av.open(io.BytesIO(data)) as container:
        stream = container.streams.audio[0]
        frames = [frame.to_ndarray() for frame in container.decode(stream)]
        if frames[0].dtype == np.int16:
            frames = [frame / 32768 for frame in frames]
        return (
            np.concatenate([frame.ravel() for frame in frames]),
            stream.rate,
            stream.channels,
            dict(container.metadata),
            container.format.name,
        )


@pytest.mark.parametrize("rate", [16_000, 24_000, 48_000])
@pytest.mark.parametrize("format_", FORMATS)
def test_round_trip(format_: AudioFormat, rate: int) -> None:
    samples, planned = tone(3.5, rate), plan(format_, "job-1", "某公司", 64)
    heard, its_rate, channels, tags, name = decoded(encode(samples, rate, planned))
    assert (its_rate, channels) == (rate, 1)
    assert len(heard) / rate == pytest.approx(3.5, abs=0.08)
    assert CONTAINERS[format_] in name
    pitch = np.abs(np.fft.rfft(heard[:rate])).argmax()
    assert pitch == pytest.approx(440, abs=1)
    assert np.abs(heard[rate : 2 * rate]).max() == pytest.approx(0.5, abs=0.03)
    for tag in ("title", "comment", "AIGC"):
        assert tags[tag] == planned.tags[tag]


@pytest.mark.parametrize("format_", FORMATS)
def test_equal_input_gives_equal_bytes(format_: AudioFormat) -> None:
    one, two = (encode(tone(1, 24_000), 24_000, plan(format_, "j", "p", 64)) for _ in range(2))
    assert one == two
    assert encode(tone(1, 24_000), 24_000, plan(format_, "k", "p", 64)) != one


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("samples", [480, 65_536, 65_537])
def test_any_length(format_: AudioFormat, samples: int) -> None:
    data = encode(np.full(samples, 0.2, np.float32), 24_000, plan(format_, "j", "p", 64))
    heard, *_ = decoded(data)
    assert abs(len(heard) - samples) <= 2500


def test_a_wav_is_read_by_others_too_whatever_the_label_is_long() -> None:
    for producer in ("p", "pp"):
        data = encode(tone(1, 24_000), 24_000, plan(AudioFormat.WAV, "j", producer, 64))
        with wave.open(io.BytesIO(data)) as file:
            assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (24_000, 1, 2)
            assert file.getnframes() == 24_000
        assert int.from_bytes(data[4:8], "little") == len(data) - 8


def test_an_m4a_begins_with_its_index_however_long() -> None:
    for seconds in (1, 240):
        data = encode(tone(seconds, 24_000), 24_000, plan(AudioFormat.M4A, "j", "p" * 200, 64))
        assert 0 < data.find(b"moov") < data.find(b"mdat")


@pytest.mark.parametrize("format_", FORMATS)
def test_what_is_too_loud_is_cut_not_wrapped(format_: AudioFormat) -> None:
    loud = np.full(24_000, 1.5, np.float32)
    heard, *_ = decoded(encode(loud, 24_000, plan(format_, "j", "p", 64)))
    assert heard.min() > -0.6
