"""The stage: the sound first, then the ear, then the policy; and the same again after a death."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from uuid import UUID, uuid5

import numpy as np
import pytest

from moderation.__main__ import keep, policy_key
from moderation.hearing import SAMPLE_RATE, Hearing, Samples
from moderation.policy import load_policy, restore_policy
from moderation.stage import Moderation
from relay import flac
from relay.errors import BadRecord, Missing, Unavailable
from relay.objects.disk import DiskStore
from relay.stage import Context, Stage
from schemas.envelope import Head
from schemas.events import (
    AudioFormat,
    Event,
    Mode,
    Prompt,
    PromptApproved,
    PromptHeld,
    PromptRejected,
    PromptReviewed,
    PromptUploaded,
    Recording,
)

PERSON = UUID(int=5)
POLICY = load_policy()
CONTEXT = Context(
    Head(
        id=uuid5(PERSON, "event"),
        type=PromptUploaded.TYPE,
        source="voxrelay://test",
        time=datetime(2026, 1, 1, tzinfo=UTC),
        person=PERSON,
        key=str(uuid5(PERSON, "job")),
    ),
    b"k" * 32,
)


class Ear:
    """Says what it is told to, a little differently each time; counts its work."""

    model, digest = "stand-in", "1"

    def __init__(self, text: str = "今天天气很好") -> None:
        self.text = text
        self.asked: list[str | None] = []

    async def hear(self, audio: Samples, language: str | None) -> Hearing:
        self.asked.append(language)
        return Hearing(
            text=self.text,
            language=language or "zh",
            language_probability=0.9,
            no_speech_prob=0.01,
            avg_logprob=-0.2 - 0.001 * len(self.asked),
            compression_ratio=1.0,
            seconds=len(audio) / SAMPLE_RATE,
        )


def spoken() -> bytes:
    """Something as loud and as uneven as speech."""
    time = np.arange(3 * 24_000) / 24_000
    wave = 0.3 * np.sin(2 * np.pi * 150 * time) * (np.sin(2 * np.pi * time) > 0)
    return flac.write_flac(flac.Sound(wave.astype(np.float32), 24_000))


SILENT = flac.write_flac(flac.Sound(np.zeros(48_000, np.float32), 24_000))


@pytest.fixture
def store(tmp_path: Path) -> DiskStore:
    return DiskStore(tmp_path)


async def uploaded(
    store: DiskStore, data: bytes | None = None, text: str = "你好", language: str | None = None
) -> PromptUploaded:
    """A prompt whose recording lies in the store."""
    data = spoken() if data is None else data
    digest = sha256(data).hexdigest()
    await store.put(f"recording/{PERSON}/{digest}", data, flac.CONTENT_TYPE)
    return PromptUploaded(
        text=text,
        mode=Mode.INSTRUCT,
        instruct="慢一点",
        style="calm",
        speed=1.5,
        seed=9,
        format=AudioFormat.WAV,
        language=language,
        recording=Recording(
            key=f"recording/{PERSON}/{digest}", sha256=digest, seconds=3, sample_rate=24_000,
            container="wav", codec="pcm_s16le",
        ),
        door="jobs",
        address="203.0.113.9",
    )  # fmt: skip


async def one(stage: Moderation, event: Event) -> Event:
    (answer,) = await stage.handle(event, CONTEXT)
    return answer


async def test_approved_carries_the_prompt_what_was_heard_and_by_what_it_was_judged(
    store: DiskStore,
) -> None:
    stage: Stage = Moderation(Ear(), POLICY, store)
    event = await uploaded(store, language="zh-CN")
    (answer,) = await stage.handle(event, CONTEXT)
    assert isinstance(answer, PromptApproved)
    for name in Prompt.model_fields:
        assert getattr(answer, name) == getattr(event, name)
    assert (answer.transcript, answer.heard_language) == ("今天天气很好", "zh-CN")
    assert answer.verdict.policy == POLICY.name
    assert answer.verdict.policy_digest == POLICY.digest
    assert (answer.verdict.hearing_model, answer.verdict.hearing_digest) == ("stand-in", "1")
    assert answer.verdict.reasons == ()


async def test_a_word_in_the_recording_rejects(
    store: DiskStore,
) -> None:
    event = await uploaded(store)
    rejected = await one(Moderation(Ear("买卖毒品"), POLICY, store), event)
    assert isinstance(rejected, PromptRejected)
    assert (rejected.text, rejected.transcript) == ("你好", "买卖毒品")
    assert [reason.where for reason in rejected.verdict.reasons] == ["recording"]
    assert (rejected.style, rejected.code_version) == (event.style, rejected.verdict.code_version)


async def test_a_prompt_is_held_with_all_that_approval_needs(store: DiskStore) -> None:
    held = await one(Moderation(Ear("麦卖读品"), POLICY, store), await uploaded(store))
    assert isinstance(held, PromptHeld)
    assert held.verdict.reasons[0].rule == "drugs"
    assert (held.transcript, held.speed, held.instruct) == ("麦卖读品", 1.5, "慢一点")


async def test_silence_is_rejected_and_nobody_listens(store: DiskStore) -> None:
    ear = Ear()
    answer = await one(Moderation(ear, POLICY, store), await uploaded(store, SILENT))
    assert isinstance(answer, PromptRejected)
    assert "recording_silent" in {reason.code for reason in answer.verdict.reasons}
    assert (answer.transcript, answer.verdict.hearing_key, ear.asked) == (None, None, [])


async def test_a_retry_answers_the_same_and_hears_nothing_again(store: DiskStore) -> None:
    ear, event = Ear(), await uploaded(store)
    stage = Moderation(ear, POLICY, store)
    first = await one(stage, event)
    ear.text = "a batch elsewhere hears it differently"
    await store.delete(event.recording.key)
    assert await one(stage, event) == first
    assert len(ear.asked) == 1


async def test_whoever_loses_the_race_adopts_what_lies_there(store: DiskStore) -> None:
    event = await uploaded(store)
    slow, quick = Ear("slow"), Ear("quick")
    gate = asyncio.Event()
    hear = slow.hear

    async def late(audio: Samples, language: str | None) -> Hearing:
        await gate.wait()
        return await hear(audio, language)

    slow.hear = late  # type: ignore[method-assign]
    loser = asyncio.create_task(one(Moderation(slow, POLICY, store), event))
    winner = await one(Moderation(quick, POLICY, store), event)
    gate.set()
    assert await loser == winner
    assert slow.asked


async def test_language_recording_and_ear_each_make_another_hearing(store: DiskStore) -> None:
    ear = Ear()
    stage = Moderation(ear, POLICY, store)
    keys = set()
    for language in (None, "zh", "en"):
        answer = await one(stage, await uploaded(store, language=language))
        assert isinstance(answer, PromptApproved)
        keys.add(answer.verdict.hearing_key)
    ear.digest = "2"
    answer = await one(stage, await uploaded(store))
    assert isinstance(answer, PromptApproved)
    assert len(keys | {answer.verdict.hearing_key}) == 4


async def test_the_text_alone_changes_no_hearing(store: DiskStore) -> None:
    ear = Ear()
    stage = Moderation(ear, POLICY, store)
    await one(stage, await uploaded(store, text="一"))
    await one(stage, await uploaded(store, text="二"))
    assert len(ear.asked) == 1


async def test_a_recording_that_is_gone_is_a_bad_record(store: DiskStore) -> None:
    event = await uploaded(store)
    await store.delete(event.recording.key)
    with pytest.raises(Missing):
        await one(Moderation(Ear(), POLICY, store), event)


async def test_an_object_that_is_no_sound_is_a_bad_record(store: DiskStore) -> None:
    with pytest.raises(BadRecord) as bad:
        await one(Moderation(Ear(), POLICY, store), await uploaded(store, b"no sound"))
    assert bad.value.code == "sound_unreadable"


async def test_a_lost_device_keeps_the_record(store: DiskStore) -> None:
    class Lost(Ear):
        async def hear(self, audio: Samples, language: str | None) -> Hearing:
            raise Unavailable("gone")

    with pytest.raises(Unavailable):
        await one(Moderation(Lost(), POLICY, store), await uploaded(store))


@pytest.mark.parametrize("approved", [True, False])
async def test_a_review_is_acted_on_from_itself_alone(store: DiskStore, approved: bool) -> None:
    event = await uploaded(store)
    held = await one(Moderation(Ear("麦卖读品"), POLICY, store), event)
    assert isinstance(held, PromptHeld)
    review = PromptReviewed(**dict(held), approved=approved, reviewer="operator-1", note="?")
    elsewhere = DiskStore(Path("/nonexistent"))
    answer = await one(Moderation(Ear(), POLICY, elsewhere), review)
    if approved:
        assert isinstance(answer, PromptApproved)
        assert answer == PromptApproved(**dict(held))
    else:
        assert isinstance(answer, PromptRejected)
        assert (answer.text, answer.transcript) == (held.text, held.transcript)
        assert [r.rule for r in answer.verdict.reasons] == ["drugs", "review"]
        assert (answer.style, answer.code_version) == (held.style, held.verdict.code_version)


async def test_the_policy_is_kept_by_its_digest(store: DiskStore) -> None:
    await keep(POLICY, store)
    await keep(POLICY, store)
    kept = await store.get(policy_key(POLICY.digest))
    assert restore_policy(kept).digest == POLICY.digest
