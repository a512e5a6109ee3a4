"""The ear on real weights: a batch hears what each clip says, and silence says nothing."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from moderation import whisper as module
from moderation.audio import measure
from moderation.decide import must_listen
from moderation.hearing import SAMPLE_RATE, Hearing, Samples
from moderation.policy import NoSpeech, Unclear, load_policy
from moderation.weights import Loaded
from moderation.whisper import Whisper, context_for, open_whisper
from moderation.words import fold
from relay.errors import BadRecord, Lost, Misconfigured, Unavailable
from tests.moderation.conftest import EXAMPLES, example

NAMES = ("mandarin", "english", "mixed")
SILENCE = np.zeros(3 * SAMPLE_RATE, np.float32)
RANDOM = np.random.default_rng(3)


def noise(level: float) -> Samples:
    return RANDOM.normal(0, level, 4 * SAMPLE_RATE).astype(np.float32)


@pytest.fixture(scope="module")
def together(ear: Whisper) -> dict[str, Hearing]:
    """What is heard in the examples when they arrive together."""

    async def hear() -> list[Hearing]:
        return await asyncio.gather(*(ear.hear(example(name), None) for name in NAMES))

    return dict(zip(NAMES, asyncio.run(hear()), strict=True))


def letters(text: str) -> str:
    return fold(text).chars


async def test_a_batch_hears_each_clip_as_it_is_heard_alone(
    ear: Whisper, together: dict[str, Hearing]
) -> None:
    for name, one in together.items():
        alone = await ear.hear(example(name), None)
        assert (one.text, one.language) == (alone.text, alone.language)
        assert one.avg_logprob == pytest.approx(alone.avg_logprob, abs=0.01)
        assert one.no_speech_prob == pytest.approx(alone.no_speech_prob, abs=0.01)


def test_what_is_said_is_heard_and_in_which_language(together: dict[str, Hearing]) -> None:
    said = (EXAMPLES / "mandarin.txt").read_text(encoding="utf-8")
    heard = together["mandarin"]
    assert fold(heard.text).sounds == fold(said).sounds
    assert heard.language_probability > 0.9
    assert heard.no_speech_prob < 0.3
    assert heard.seconds == pytest.approx(len(example("mandarin")) / SAMPLE_RATE, abs=0.001)
    assert re.match("thank you for calling", together["english"].text, re.IGNORECASE)
    assert [hearing.language for hearing in together.values()] == ["zh", "en", "zh"]


async def test_the_cut_window_hears_what_the_whole_one_hears(
    ear: Whisper, together: dict[str, Hearing], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "context_for", lambda seconds: 1500)
    for name in ("mandarin", "english"):
        whole = await ear.hear(example(name), None)
        assert letters(whole.text) == letters(together[name].text)


async def test_a_wrong_language_shows_in_its_probability(ear: Whisper) -> None:
    heard = await ear.hear(example("mandarin"), "de")
    assert heard.language == "de"
    assert heard.language_probability < 0.02


@pytest.mark.parametrize(
    "clip",
    [noise(0.02), noise(0.2), np.sin(np.arange(64000) / 9, dtype=np.float32) * 0.3, SILENCE],
    ids=["noise", "loud noise", "tone", "silence"],
)
async def test_where_nobody_speaks_the_policy_refuses_twice(ear: Whisper, clip: Samples) -> None:
    """By its sound alone; and the ear, if it is asked all the same, makes out no words."""
    assert not must_listen(measure(clip), load_policy())
    heard = await ear.hear(clip, "zh")
    rules = load_policy().rules
    (silent,) = (rule for rule in rules if isinstance(rule, NoSpeech))
    (unclear,) = (rule for rule in rules if isinstance(rule, Unclear))
    assert heard.no_speech_prob > silent.above
    assert heard.avg_logprob < max(silent.unsure_below, unclear.unsure_below)


async def test_a_poisonous_clip_harms_no_neighbour(ear: Whisper) -> None:
    poison = np.zeros((2, 16000), np.float32)
    answers = await asyncio.gather(
        ear.hear(example("mandarin")[: 3 * SAMPLE_RATE], "zh"),
        ear.hear(poison, "zh"),
        ear.hear(example("english")[: 3 * SAMPLE_RATE], "en"),
        return_exceptions=True,
    )
    assert isinstance(answers[1], Exception)
    assert not isinstance(answers[0], BaseException)
    assert not isinstance(answers[2], BaseException)


@pytest.mark.parametrize("lacking", ["no_speech_prob", "avg_logprob", "chance"])
async def test_a_hearing_of_no_numbers_is_none_and_harms_no_neighbour(
    ear: Whisper, monkeypatch: pytest.MonkeyPatch, lacking: str
) -> None:
    def heard(clips: Sequence[module._Clip]) -> list[Hearing]:
        said = {"no_speech_prob": 0.1, "avg_logprob": -0.2, "chance": 0.9}
        found = []
        for clip in clips:
            told = said | ({lacking: math.nan} if not clip.audio.any() else {})
            result = SimpleNamespace(text="!", language="en", compression_ratio=1, **told)
            found.append(module._hearing(clip, result, {"en": told["chance"]}))
        return found

    monkeypatch.setattr(ear._batches, "_work", heard)
    wrong, right = await asyncio.gather(
        ear.hear(SILENCE, "en"), ear.hear(SILENCE + 0.1, "en"), return_exceptions=True
    )
    assert isinstance(wrong, BadRecord)
    assert wrong.code == "recording_unheard"
    assert isinstance(right, Hearing)


async def test_a_device_that_is_full_is_our_trouble(
    ear: Whisper, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object) -> None:
        raise torch.OutOfMemoryError("full")

    monkeypatch.setattr(ear, "_features", full)
    with pytest.raises(Unavailable):
        await ear.hear(SILENCE, None)


async def test_a_device_after_a_fault_is_for_another_process(
    ear: Whisper, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*args: object) -> None:
        raise torch.AcceleratorError("an illegal memory access was encountered")

    monkeypatch.setattr(ear, "_features", lost)
    with pytest.raises(Lost):
        await ear.hear(SILENCE, None)


async def test_the_longest_recording_fits_the_window(ear: Whisper) -> None:
    heard = await ear.hear(np.tile(example("english"), 8), "en")
    assert heard.seconds == 30.0
    assert "calling" in heard.text


@pytest.mark.parametrize(
    ("seconds", "context"),
    [(0.1, 200), (3.4, 200), (3.6, 400), (7.5, 400), (10, 600), (27.6, 1500), (30, 1500)],
)
def test_the_window_is_the_clips_own_with_room_after_it(seconds: float, context: int) -> None:
    assert context_for(seconds) == context


@pytest.mark.parametrize(
    ("tag", "code"),
    [
        ("zh", "zh"), ("zh-CN", "zh"), ("ZH_Hant_TW", "zh"), ("cmn-Hans", "zh"), ("yue", "zh"),
        ("en-US", "en"), ("nb", "no"), ("xx", None), ("", None), (None, None),
    ],
)  # fmt: skip
def test_tags_become_whispers_codes(ear: Whisper, tag: str | None, code: str | None) -> None:
    assert ear.spoken_as(tag) == code


async def test_mandarin_is_spelled_in_the_script_of_who_asks(
    ear: Whisper, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def traditional(clip: module._Clip) -> Hearing:
        result = SimpleNamespace(
            text="錄音", language="zh", no_speech_prob=0, avg_logprob=0, compression_ratio=1
        )
        return module._hearing(clip, result, {"zh": 1.0})

    monkeypatch.setattr(ear, "_batches", SimpleNamespace(ask=traditional))
    tags = (None, "zh", "zh-CN", "zh-TW", "zh-Hant", "zh_hk")
    texts = [(await ear.hear(SILENCE, tag)).text for tag in tags]
    assert texts == ["录音", "录音", "录音", "錄音", "錄音", "錄音"]


def test_an_ear_for_english_only_is_refused(ear: Whisper) -> None:
    class English:
        is_multilingual = False

    with pytest.raises(Misconfigured, match="English"):
        Whisper(Loaded(English(), "base.en", "00", "here"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without the device")
def test_a_device_that_is_not_there_is_refused_at_start() -> None:
    with pytest.raises(Misconfigured, match="VOXRELAY_MODERATION_DEVICE"):
        open_whisper("base", None, device="cuda", threads=1, batch=1)
