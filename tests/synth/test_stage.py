"""The stage: one speech a recipe, and what it tells of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest

from relay import flac
from relay.errors import BadRecord, Missing, Unavailable
from relay.objects.disk import DiskStore
from relay.objects.kinds import VOICE
from relay.stage import Context
from schemas.envelope import Head
from schemas.events import (
    AudioFormat,
    Mode,
    PromptApproved,
    Recording,
    SpeechSynthesized,
    Verdict,
)
from synth.stage import Synth
from synth.voice import Refusal, Speech, SpeechRequest, Spoken, refuse

PERSON = UUID("7a0b9f2e-3a0e-4d6c-9b1c-2f4f5e6a7b8c")
RATE = 24_000


@dataclass
class FakeVoice:
    """Speaks a tone of its own each time, as a GPU might; keeps what it was asked."""

    digest: str = "d1"
    fails: list[BaseException] = field(default_factory=list)
    asked: list[SpeechRequest] = field(default_factory=list)
    lost: bool = False

    async def start(self) -> None: ...

    async def aclose(self) -> None: ...

    async def ready(self) -> None:
        if self.lost:
            raise Unavailable("no device")

    async def speak(self, request: SpeechRequest) -> Speech:
        if self.fails:
            raise self.fails.pop()
        self.asked.append(request)
        await asyncio.sleep(0)
        samples = np.full(RATE, len(self.asked) / 10, np.float32)
        return Speech(samples, RATE, self._who())

    def _who(self) -> Spoken:
        return Spoken(
            engine="fake", voice="", version="1", digest=self.digest, device="cpu", cloned=True
        )


@dataclass
class House:
    """A stage over a store that holds one recording."""

    store: DiskStore
    voice: FakeVoice
    recording: Recording

    async def handle(self, context: Context, **fields: Any) -> SpeechSynthesized:
        stage = Synth(self.voice, self.store)
        answer: Sequence[Any] = await stage.handle(self.approved(**fields), context)
        (event,) = answer
        assert isinstance(event, SpeechSynthesized)
        return event

    def approved(self, **fields: Any) -> PromptApproved:
        given: dict[str, Any] = {
            "text": "你好，世界。",
            "recording": self.recording,
            "transcript": "heard",
            "heard_language": "zh",
            "verdict": Verdict(
                policy="p",
                policy_digest="d",
                code_version="0",
                hearing_model="m",
                hearing_digest="d",
            ),
        }
        return PromptApproved(**{**given, **fields})


@pytest.fixture
async def house(tmp_path: Path) -> House:
    store = DiskStore(tmp_path)
    data = flac.write_flac(flac.Sound(np.full(32_000, 0.1, np.float32), 16_000))
    recording = Recording(
        key=f"recording/{PERSON}/r",
        sha256=sha256(data).hexdigest(),
        seconds=2,
        sample_rate=16_000,
        container="wav",
        codec="pcm_s16le",
    )
    await store.put(recording.key, data, flac.CONTENT_TYPE)
    return House(store, FakeVoice(), recording)


def context(person: UUID = PERSON) -> Context:
    """What the relay lends for a new job's event."""
    head = Head(
        id=uuid4(),
        type=PromptApproved.TYPE,
        source="voxrelay://test",
        time=datetime(2026, 1, 1, tzinfo=UTC),
        person=person,
        key=str(uuid4()),
    )
    return Context(head=head, recipe_key=b"k" * 32)


async def test_speaks_what_was_approved_and_says_who_spoke(house: House) -> None:
    event = await house.handle(context(), seed=7, format=AudioFormat.WAV, speed=1.5)
    assert event.spoken == house.voice._who()
    assert (event.seed, event.cached, event.format) == (7, False, AudioFormat.WAV)
    data = await house.store.get(event.speech.key)
    assert event.speech.key.startswith(f"speech/{PERSON}/")
    assert event.speech.sha256 == sha256(data).hexdigest()
    assert (event.speech.bytes, event.speech.seconds) == (len(data), 1.0)
    assert flac.read_flac(data).samples[0] == pytest.approx(0.1, abs=1e-3)
    (asked,) = house.voice.asked
    assert (asked.text, asked.mode, asked.speed, asked.seed) == (
        "你好，世界。",
        Mode.ZERO_SHOT,
        1.5,
        7,
    )
    assert (asked.transcript, asked.language, asked.prompt_rate) == ("heard", "zh", 16_000)
    assert asked.prompt_seconds == 2
    assert asked.prompt_id == house.recording.sha256


async def test_the_same_recipe_is_spoken_once_and_the_second_says_so(house: House) -> None:
    first, second = await house.handle(context()), await house.handle(context())
    assert len(house.voice.asked) == 1
    assert (first.cached, second.cached) == (False, True)
    assert second.speech == first.speech
    assert second.spoken == first.spoken


@pytest.mark.parametrize(
    "other",
    [
        {"text": "再见。"},
        {"speed": 1.1},
        {"seed": 1},
        {"mode": Mode.CROSS_LINGUAL},
        {"style": "gentle"},
        {"instruct": "慢一点。"},
        {"transcript": "heard otherwise"},
    ],
    ids=lambda fields: next(iter(fields)),
)
async def test_whatever_changes_the_sound_is_in_the_recipe(
    house: House, other: dict[str, Any]
) -> None:
    await house.handle(context())
    assert not (await house.handle(context(), **other)).cached


async def test_another_engine_or_person_shares_nothing(house: House) -> None:
    first = await house.handle(context())
    stranger = await house.handle(context(uuid4()))
    house.voice.digest = "d2"
    newer = await house.handle(context())
    assert len({e.speech.key for e in (first, stranger, newer)}) == 3
    assert not stranger.cached
    assert not newer.cached


async def test_the_format_is_no_part_of_the_recipe(house: House) -> None:
    await house.handle(context(), format=AudioFormat.WAV)
    assert (await house.handle(context(), format=AudioFormat.M4A)).cached


async def test_a_retry_after_a_death_yields_the_same_event(house: House) -> None:
    lent = context()
    assert await house.handle(lent) == await house.handle(lent)


async def test_two_at_once_agree_on_one_speech(house: House) -> None:
    both = await asyncio.gather(house.handle(context()), house.handle(context()))
    assert both[0].speech == both[1].speech
    assert sorted(event.cached for event in both) == [False, True]


async def test_a_style_reaches_the_voice_as_an_instruction(house: House) -> None:
    event = await house.handle(context(), style="四川话")
    assert (event.style, event.code_version) == ("四川话", "0")  # told on, as it was asked for
    (asked,) = house.voice.asked
    assert (asked.mode, asked.instruct, asked.style) == (
        Mode.INSTRUCT,
        "请用四川话表达。",
        "sichuan",
    )


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"mode": Mode.INSTRUCT}, "instruct_missing"),
        ({"style": "grumpy"}, "unknown_style"),
        ({"text": "……"}, "text_empty"),
    ],
)
async def test_what_no_voice_could_speak_is_refused_before_one_is_asked(
    house: House, fields: dict[str, Any], code: str
) -> None:
    with pytest.raises(BadRecord) as refused:
        await house.handle(context(), **fields)
    assert refused.value.code == code
    assert house.voice.asked == []


async def test_a_refusal_or_a_lost_device_leaves_nothing_behind(house: House) -> None:
    house.voice.fails = [refuse(Refusal.OUTPUT_TOO_LONG), Unavailable("lost")]
    with pytest.raises(Unavailable):
        await house.handle(context())
    with pytest.raises(BadRecord, match="output_too_long"):
        await house.handle(context())
    assert [stat async for stat in house.store.list("speech/")] == []
    assert not (await house.handle(context())).cached


async def test_a_recording_that_is_gone_or_damaged_is_a_bad_record(house: House) -> None:
    gone = house.recording.model_copy(update={"key": f"recording/{PERSON}/gone"})
    with pytest.raises(Missing):
        await house.handle(context(), recording=gone)
    await house.store.put(gone.key, b"not audio", flac.CONTENT_TYPE)
    with pytest.raises(BadRecord, match="sound_unreadable"):
        await house.handle(context(), recording=gone)


async def test_not_ready_while_the_voice_is_not(house: House) -> None:
    stage = Synth(house.voice, house.store)
    await stage.check()
    house.voice.lost = True
    with pytest.raises(Unavailable):
        await stage.check()


async def test_an_erased_persons_speech_is_spoken_anew(house: House) -> None:
    lent = context()
    first = await house.handle(lent)
    again = await house.handle(replace(lent, recipe_key=b"n" * 32))
    assert again.speech.key != first.speech.key


async def voice_of(house: House, person: UUID) -> Recording:
    """A voice that `person` has saved."""
    key = f"{VOICE}/{person}/{uuid4()}"
    await house.store.put(key, await house.store.get(house.recording.key), flac.CONTENT_TYPE)
    return house.recording.model_copy(update={"key": key})


async def test_nothing_is_spoken_in_a_voice_that_was_taken_back(house: House) -> None:
    voice = await voice_of(house, PERSON)
    await house.handle(context(), recording=voice)
    await house.store.delete(voice.key)
    for text in ("你好，世界。", "再见。"):  # the first was spoken before, and is kept
        with pytest.raises(BadRecord) as refused:
            await house.handle(context(), recording=voice, text=text)
        assert refused.value.code == "voice_revoked"
    assert len(house.voice.asked) == 1


async def test_what_is_learnt_of_anothers_voice_is_not_kept(house: House) -> None:
    await house.handle(context(), recording=await voice_of(house, PERSON))
    await house.handle(context(uuid4()), recording=await voice_of(house, PERSON))
    assert [asked.features is None for asked in house.voice.asked] == [False, True]
