"""Acceptance: what cannot be listened to does not pass, and a pass is for one digest only."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from moderation.whisper import Whisper
from synth.cosyvoice3 import BadModel, Mode, Recording, Refused, Request, accept
from synth.kokoro.voice import KokoroVoice
from synth.voice import SpeechRequest
from tests.cosyvoice3.conftest import recording
from voxrelay.model import _likeness, _sounds_apart

FEW = (accept.SENTENCES[0], accept.SENTENCES[8], accept.SENTENCES[14], accept.SENTENCES[20])


def voiced(request: Request) -> np.ndarray:
    """A sound about as long as the text would be, with nothing wrong about it."""
    at = np.arange(int(len(request.text) * 0.2 * 24_000)) / 24_000
    return (0.3 * np.sin(900 * at) * (0.6 + 0.4 * np.sin(9 * at))).astype(np.float32)


async def examine(
    spoil: object = lambda sound: sound, heard: str | None = None, likeness: float = 0.9
) -> accept.Report:
    said: list[Request] = []

    async def speak(request: Request) -> np.ndarray:
        said.append(request)
        return spoil(voiced(request))

    async def hear(_: np.ndarray, rate: int) -> str:
        assert rate == 24_000
        return heard if heard is not None else by_text[said[-1].text]

    by_text = {s.text: s.heard for s in FEW}
    measured = await accept.examine(recording(), speak, hear, lambda *_: likeness, sentences=FEW)
    return accept.judge(measured, "d1", "bfloat16", "cpu")


async def test_good_speech_passes_for_its_digest_and_precision_only(tmp_path: Path) -> None:
    report = await examine()
    assert report.passed, report.reasons
    assert not accept.passed(tmp_path, "bfloat16", "d1")
    accept.write(report, tmp_path)
    assert accept.passed(tmp_path, "bfloat16", "d1")
    assert not accept.passed(tmp_path, "bfloat16", "d2")
    assert not accept.passed(tmp_path, "float16", "d1")


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (lambda s: s * 0, "silent"),
        (lambda s: s * np.float32(0.001), "silent"),
        (lambda s: np.where(np.arange(len(s)) % 30_000 < 25_000, 0, s), "silent"),
        (lambda s: np.clip(s * 9, -0.99, 0.99), "clipped"),
        (lambda s: s * np.float32(np.nan), "not_finite"),
        (lambda s: s[:5000], "too_short"),
        (lambda s: np.tile(s, 9), "too_long"),
        (lambda s: s[:0], "empty"),
    ],
)
async def test_broken_sound_does_not_pass(spoil: object, fault: str) -> None:
    report = await examine(spoil)
    assert not report.passed
    assert any(fault in reason for reason in report.reasons), report.reasons


async def test_other_words_or_another_voice_do_not_pass() -> None:
    misheard = await examine(heard="完全不同的一句话")
    assert not misheard.passed
    assert any("misheard" in reason for reason in misheard.reasons)
    stranger = await examine(likeness=0.4)
    assert not stranger.passed
    assert any("likeness" in reason for reason in stranger.reasons)
    unknown = await examine(likeness=float("nan"))
    assert not unknown.passed


async def test_the_demo_voice_passes_and_half_of_what_it_said_does_not(ear: Whisper) -> None:
    """Real speech, a real recogniser, a real speaker encoder; the voice is compared with itself."""
    one = accept.SENTENCES[:1]
    voice, prompt = KokoroVoice(threads=1), recording(2.0)
    await voice.start()
    asked = SpeechRequest("r", one[0].text, prompt.samples, prompt.rate, "p")
    sound = (await voice.speak(asked)).samples
    await voice.aclose()

    async def hear(heard: np.ndarray, rate: int) -> str:
        return (await ear.hear(Recording(heard, rate).at(16_000), "zh")).text

    async def judged(spoken: np.ndarray) -> accept.Report:
        async def speak(_: Request) -> np.ndarray:
            return spoken

        itself = Recording(sound, 24_000)
        measured = await accept.examine(itself, speak, hear, _likeness(), _sounds_apart, one)
        return accept.judge(measured, "d", "int8", "cpu")

    whole = await judged(sound)
    assert whole.passed, whole.reasons
    assert not (await judged(sound[: len(sound) // 2])).passed


async def test_a_refusal_is_a_fault_and_no_end() -> None:
    async def refuse(_: Request) -> np.ndarray:
        raise Refused("text_unreadable", "no")

    async def hear(*_: object) -> str:
        return ""

    measured = await accept.examine(recording(), refuse, hear, lambda *_: 1.0, sentences=FEW)
    assert [m.faults for m in measured] == [("text_unreadable",)] * len(FEW)
    assert not accept.judge(measured, "d", "float32", "cpu").passed
    assert not accept.judge((), "d", "float32", "cpu").passed


async def test_sound_that_is_not_finite_is_a_fault_and_no_end() -> None:
    async def spoil(_: Request) -> np.ndarray:
        raise BadModel("the sound is not finite")

    async def hear(*_: object) -> str:
        return ""

    measured = await accept.examine(recording(), spoil, hear, lambda *_: 1.0, sentences=FEW)
    report = accept.judge(measured, "d", "float16", "cpu")
    assert not report.passed
    assert sum("not finite" in reason for reason in report.reasons) == len(FEW)


def test_forty_sentences_over_all_modes_dialects_and_marks() -> None:
    assert len(accept.SENTENCES) == 40
    assert {s.mode for s in accept.SENTENCES} == set(Mode)
    kinds = Counter(s.kind for s in accept.SENTENCES)
    assert kinds["dialect"] == 17
    assert set(kinds) == set(accept.MOST_ERRORS)


def test_character_errors() -> None:
    assert accept.character_errors("你好，世界。", "你好世界") == 0
    assert accept.character_errors("你好世界", "你好") == 0.5
    assert accept.character_errors("Hello!", "hello") == 0
    assert accept.character_errors("你", "我们都") == 3


def test_a_report_that_is_no_report_is_no_pass(tmp_path: Path) -> None:
    (tmp_path / "acceptance-float32.json").write_text("{")
    assert not accept.passed(tmp_path, "float32", "d")
    assert isinstance(recording(), Recording)
