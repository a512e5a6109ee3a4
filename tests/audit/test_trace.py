"""A delivered file leads back to its job; a label that was copied, or taken out, is told apart."""

from __future__ import annotations

import io
import json
from pathlib import Path

import av
import numpy as np
import pytest
from typer.testing import CliRunner

from audit.trace import read_label
from delivery.decide import plan
from delivery.encode import encode
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
    job = lived.jobs["delivered"]
    document = json.loads(said(ask, "trail", job, "--json").output)
    key = document["steps"][-1]["event"]["audio"]["key"]
    file = tmp_path / "found.mp3"
    file.write_bytes((lived.settings.data / "objects" / key / "data").read_bytes())
    found = json.loads(said(ask, "trace", str(file), "--json").output)
    assert (found["job"], found["exact"]) == (job, True)
    assert found["trail"]["steps"][-1]["event"]["label"]["produce_id"] == job
    file.write_bytes(delivered(AudioFormat.MP3, job))
    copied = json.loads(said(ask, "trace", str(file), "--json").output)
    assert (copied["job"], copied["exact"]) == (job, False)
    file.write_bytes(delivered(AudioFormat.MP3, "another-site's"))
    assert "another-site's" in said(ask, "trace", str(file), code=1).output
    file.write_bytes(b"text")
    assert "neither" in said(ask, "trace", str(file), code=1).output
