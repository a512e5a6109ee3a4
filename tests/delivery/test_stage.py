"""The stage: one labelled file a job."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import av
import numpy as np
import pytest

from delivery.stage import Delivery
from relay import flac
from relay.errors import BadRecord, Missing
from relay.objects.disk import DiskStore
from relay.stage import Context
from schemas.envelope import Head
from schemas.events import Audio, AudioFormat, SpeechDelivered, SpeechSynthesized, Spoken

PERSON = UUID("7a0b9f2e-3a0e-4d6c-9b1c-2f4f5e6a7b8c")
SPEECH = f"speech/{PERSON}/s"


@pytest.fixture
async def store(tmp_path: Path) -> DiskStore:
    store = DiskStore(tmp_path)
    sound = flac.Sound(np.full(48_000, 0.2, np.float32), 24_000, {"voice": "v"})
    await store.put(SPEECH, flac.write_flac(sound), flac.CONTENT_TYPE)
    return store


def context() -> Context:
    head = Head(
        id=uuid4(),
        type=SpeechSynthesized.TYPE,
        source="voxrelay://test",
        time=datetime(2026, 1, 1, tzinfo=UTC),
        person=PERSON,
        key=str(uuid4()),
    )
    return Context(head=head, recipe_key=b"k" * 32)


def synthesized(format_: AudioFormat, key: str = SPEECH) -> SpeechSynthesized:
    return SpeechSynthesized(
        speech=Audio(key=key, sha256="00", bytes=1, seconds=2, sample_rate=24_000),
        spoken=Spoken(engine="e", voice="v", version="1", digest="d", device="cpu", cloned=False),
        seed=0,
        cached=False,
        format=format_,
        style="gentle",
        code_version="9",
    )


async def deliver(
    store: DiskStore, lent: Context, format_: AudioFormat, **settings: Any
) -> SpeechDelivered:
    stage = Delivery(store, **{"producer": "某公司", "kbps": 64, **settings})
    (event,) = await stage.handle(synthesized(format_), lent)
    assert isinstance(event, SpeechDelivered)
    return event


@pytest.mark.parametrize("format_", list(AudioFormat))
async def test_the_file_lies_under_the_job_and_bears_the_label_of_the_event(
    store: DiskStore, format_: AudioFormat
) -> None:
    lent = context()
    event = await deliver(store, lent, format_)
    data = await store.get(event.audio.key)
    assert event.audio.key.startswith(f"audio/{PERSON}/")
    assert event.audio.sha256 == sha256(data).hexdigest()
    assert (event.audio.bytes, event.audio.seconds) == (len(data), 2.0)
    assert (event.format, event.spoken.voice) == (format_, "v")
    assert (event.style, event.code_version) == ("gentle", "9")
    with av.open(io.BytesIO(data)) as container:
        label = json.loads(container.metadata["AIGC"])
    assert label == json.loads(event.label.aigc)
    assert label["ProduceID"] == event.label.produce_id == lent.head.key
    assert label["ContentProducer"] == event.label.producer == "某公司"


async def test_two_jobs_with_one_speech_have_two_files(store: DiskStore) -> None:
    one = await deliver(store, context(), AudioFormat.MP3)
    two = await deliver(store, context(), AudioFormat.MP3)
    assert one.audio.key != two.audio.key
    assert one.label.produce_id != two.label.produce_id


async def test_a_retry_adopts_the_file_that_lies_there(store: DiskStore) -> None:
    lent = context()
    first = await deliver(store, lent, AudioFormat.MP3, kbps=32)
    # Even where the settings changed between: what was put first is what the event tells of.
    second = await deliver(store, lent, AudioFormat.MP3, kbps=96)
    assert second.audio == first.audio


async def test_a_speech_that_is_gone_or_damaged_is_a_bad_record(store: DiskStore) -> None:
    stage = Delivery(store, producer="p", kbps=64)
    gone = synthesized(AudioFormat.WAV, f"speech/{PERSON}/gone")
    with pytest.raises(Missing):
        await stage.handle(gone, context())
    await store.put(gone.speech.key, b"nothing", flac.CONTENT_TYPE)
    with pytest.raises(BadRecord, match="sound_unreadable"):
        await stage.handle(gone, context())
