"""What a delivered file is and says."""

from __future__ import annotations

import json

import pytest

from delivery.decide import aigc, plan
from schemas.events import AudioFormat


@pytest.mark.parametrize(
    ("format_", "codec", "content_type", "bit_rate"),
    [
        (AudioFormat.WAV, "pcm_s16le", "audio/wav", None),
        (AudioFormat.MP3, "libmp3lame", "audio/mpeg", 48_000),
        (AudioFormat.M4A, "aac", "audio/mp4", 48_000),
    ],
)
def test_format(format_: AudioFormat, codec: str, content_type: str, bit_rate: int | None) -> None:
    encoding = plan(format_, "job", "us", 48).encoding
    assert (encoding.codec, encoding.content_type, encoding.bit_rate) == (
        codec,
        content_type,
        bit_rate,
    )


@pytest.mark.parametrize("format_", list(AudioFormat))
def test_every_file_says_that_it_is_synthetic_by_whom_and_under_which_number(
    format_: AudioFormat,
) -> None:
    planned = plan(format_, "job-1", "某公司", 64)
    assert "AI" in planned.tags["title"]
    assert "synthetic" in planned.tags["comment"]
    assert "人工智能合成" in planned.tags["comment"]
    assert planned.tags["AIGC"] == planned.label.aigc
    assert (planned.label.producer, planned.label.produce_id) == ("某公司", "job-1")


def test_the_label_has_the_fields_of_the_standard_in_their_order() -> None:
    label = json.loads(aigc("某公司", "job-1"))
    assert list(label) == [
        "Label",
        "ContentProducer",
        "ProduceID",
        "ReservedCode1",
        "ContentPropagator",
        "PropagateID",
        "ReservedCode2",
    ]
    assert (label["Label"], label["ContentProducer"], label["ProduceID"]) == (
        "1",
        "某公司",
        "job-1",
    )
