"""A delivered file leads back to its job; a label that was copied, or taken out, is told apart."""

from __future__ import annotations

import io
import json
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from audit.trace import _compared, read_label
from benchmarks.tracing.harm import by_telephone
from delivery.decide import plan
from delivery.encode import encode
from relay.fingerprint import Asked, take
from schemas.events import AudioFormat
from tests.audit.relay import Lived
from tests.audit.test_commands import said
from tests.journeys.steps import recording

SOUND = (0.3 * np.sin(np.arange(24_000) / 24)).astype("f4")


def delivered(format_: AudioFormat, job: str) -> bytes:
    return encode(SOUND, 24_000, plan(format_, job, "VoxRelay", 64))


@pytest.mark.parametrize("format_", list(AudioFormat))
def test_the_label_is_found_in_every_format_that_is_delivered(format_: AudioFormat) -> None:
    traced = read_label(delivered(format_, "job-1"))
    assert (traced.produce_id, traced.producer, traced.why) == ("job-1", "VoxRelay", None)


@pytest.mark.parametrize(
    "data",
    [b"", b"\xff", b"text", b"#EXTM3U\nhttp://192.0.2.1/x.mp3\n", b"ID3" + bytes(99), recording()],
    ids=["nothing", "a byte", "text", "a playlist", "a broken head", "a flac"],
)
def test_what_bears_no_label_says_why(data: bytes) -> None:
    traced = read_label(data)
    assert traced.produce_id is None
    assert traced.why


@pytest.mark.parametrize("label", ["[1]", "[" * 2_000], ids=["a list", "nested without end"])
def test_a_label_that_is_no_label_is_none(label: str) -> None:
    file = io.BytesIO()
    with av.open(file, "w", format="mp3") as container:
        container.metadata["AIGC"] = label
        stream = container.add_stream("libmp3lame", rate=24_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(
            (SOUND * 32767).astype("i2")[None, :], format="s16", layout="mono"
        )
        frame.sample_rate = 24_000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert read_label(file.getvalue()).why


def test_a_file_is_traced_to_its_trail_and_a_copied_label_is_not_the_file(
    ask: CliRunner, lived: Lived, tmp_path: Path
) -> None:
    job, file = lived.jobs["delivered"], tmp_path / "found.mp3"
    file.write_bytes(spoken_in(ask, lived, job))
    found = json.loads(said(ask, "trace", str(file), "--json").output)
    assert (found["job"], found["exact"], found["labelled"]) == (job, True, True)
    assert found["trail"]["steps"][-1]["event"]["label"]["produce_id"] == job
    file.write_bytes(delivered(AudioFormat.MP3, job))
    copied = json.loads(said(ask, "trace", str(file), "--json").output)
    assert (copied["job"], copied["exact"], copied["labelled"]) == (job, False, True)
    assert "Only that says so" in said(ask, "trace", str(file)).output, "of a second of sound"
    file.write_bytes(delivered(AudioFormat.MP3, "another-site's"))
    lost = said(ask, "trace", str(file), code=1).output
    assert "another-site's" in lost
    assert "too short" in lost
    file.write_bytes(b"text")
    assert "neither" in said(ask, "trace", str(file), code=1).output


def test_without_its_label_a_file_is_known_by_its_sound(
    ask: CliRunner, lived: Lived, tmp_path: Path
) -> None:
    job, file = lived.jobs["delivered"], tmp_path / "found"
    original = samples_of(spoken_in(ask, lived, job))
    file.write_bytes(by_telephone(original, RATE))
    found = json.loads(said(ask, "trace", str(file), "--json").output)
    assert (found["job"], found["exact"], found["labelled"]) == (job, False, False)
    assert found["likeness"]["errors"] < 0.3
    assert found["others"] == [lived.jobs["again"]], "it asked for the same text and voice"
    told = said(ask, "trace", str(file)).output
    assert "sounds like this job's speech" in told
    assert f"delivered by {lived.jobs['again']}" in told
    assert "no AIGC label" in said(ask, "trace", str(file), "--sealed", code=1).output
    late = said(ask, "trace", str(file), "--since", "2999-01-01", code=1).output
    assert "Nor does it sound like anything" in late


def test_a_label_on_another_sound_is_told_apart(
    ask: CliRunner, lived: Lived, tmp_path: Path
) -> None:
    job, file = lived.jobs["delivered"], tmp_path / "found.mp3"
    other = np.random.default_rng(1).standard_normal(4 * RATE).astype(np.float32) / 10
    file.write_bytes(encode(other, RATE, plan(AudioFormat.MP3, job, "VoxRelay", 64)))
    assert "Its label is somebody else's." in said(ask, "trace", str(file)).output


@pytest.mark.parametrize("fate", ["rejected", "delivered"])
def test_under_a_copied_label_the_job_is_found_that_the_sound_is_of(
    ask: CliRunner, lived: Lived, tmp_path: Path, fate: str
) -> None:
    file, spoken = tmp_path / "found.mp3", lived.jobs["approved"]
    sound = samples_of(spoken_in(ask, lived, spoken))
    label = plan(AudioFormat.MP3, lived.jobs[fate], "VoxRelay", 64)
    file.write_bytes(encode(sound, RATE, label))
    found = json.loads(said(ask, "trace", str(file), "--json").output)
    assert (found["job"], found["labelled"]) == (lived.jobs[fate], True)
    assert spoken in found["others"]
    assert f"Its sound was delivered by {spoken}." in said(ask, "trace", str(file)).output


@pytest.mark.parametrize("junk", ["=", "AAA=", "\u00e9", "", None, {"erased": True}])
def test_a_delivery_whose_fingerprint_is_none_hides_no_other(junk: object) -> None:
    sound = np.random.default_rng(2).standard_normal(4 * RATE).astype(np.float32)
    asked = Asked(sound, RATE)
    assert _compared(asked, junk) is None
    assert _compared(asked, take(sound, RATE)) is not None


RATE = 24_000


def spoken_in(ask: CliRunner, lived: Lived, job: str) -> bytes:
    """The file that `job` delivered."""
    document = json.loads(said(ask, "trail", job, "--json").output)
    key = document["steps"][-1]["event"]["audio"]["key"]
    return (lived.settings.data / "objects" / key / "data").read_bytes()


def samples_of(file: bytes) -> NDArray[np.float32]:
    """What an MP3 sounds like, at `RATE`."""
    resampler = av.AudioResampler("flt", "mono", RATE)
    with av.open(io.BytesIO(file), "r", format="mp3") as container:
        parts = [part for frame in container.decode(audio=0) for part in resampler.resample(frame)]
    return np.concatenate([part.to_ndarray()[0] for part in parts])
