"""The demo voice keeps the promises of the port."""

from __future__ import annotations

import asyncio
import threading
import time

import numpy as np
import pytest

from relay.errors import BadRecord, Unavailable
from synth.kokoro import voice as kokoro_voice
from synth.kokoro.voice import RATE, VOICES, KokoroVoice, _Loaded, digest, join, waits_since
from tests.synth.conftest import recording, request


async def test_speaks_in_the_nearest_voice_and_says_that_it_clones_nobody(
    kokoro: KokoroVoice,
) -> None:
    speech = await kokoro.speak(request("今天天气不错。"))
    assert speech.rate == RATE
    assert speech.samples.dtype == np.float32
    assert speech.samples.ndim == 1
    assert 0.8 < speech.seconds < 3
    assert 0.05 < np.abs(speech.samples).max() <= 1
    assert speech.spoken.voice == "jm_kumo"
    assert speech.spoken.cloned is False
    assert speech.spoken.digest == kokoro.digest == digest()
    she = recording("english")
    hers = await kokoro.speak(request("好。", prompt=she.samples, prompt_rate=she.rate))
    assert hers.spoken.voice == "jf_alpha"


async def test_equal_requests_sound_equal_whoever_else_is_speaking(kokoro: KokoroVoice) -> None:
    alone = await kokoro.speak(request("Hello 世界。"))
    beside = await asyncio.gather(
        *(kokoro.speak(request(t, request_id=t)) for t in ("一二三。", "Hello 世界。", "Yes."))
    )
    assert np.array_equal(alone.samples, beside[1].samples)


async def test_a_short_text_overtakes_a_long_one(
    kokoro: KokoroVoice, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    monkeypatch.setattr(kokoro_voice, "say", lambda *_: np.ones(100, np.float32))

    async def speak(name: str, text: str) -> None:
        await kokoro.speak(request(text))
        order.append(name)

    await asyncio.gather(speak("long", "你好吗？" * 1000), speak("short", "好。"))
    assert order == ["short", "long"]


async def test_a_text_that_comes_while_a_long_one_is_spoken_waits_for_one_piece(
    kokoro: KokoroVoice, loaded: _Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    speaking, gate = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def say(_: _Loaded, piece: str, *__: object) -> np.ndarray:
        said.append(piece)
        loop.call_soon_threadsafe(speaking.set)
        assert gate.wait(60)
        return np.ones(100, np.float32)

    monkeypatch.setattr(kokoro_voice, "say", say)
    long = asyncio.create_task(kokoro.speak(request("你好吗？" * 1000)))
    await speaking.wait()
    short = asyncio.create_task(kokoro.speak(request("好。")))
    await asyncio.sleep(0)  # it has asked for its turn
    gate.set()
    await asyncio.gather(short, long)
    assert said[1:2] == loaded.reader.pieces("好。")


async def test_of_texts_that_wait_the_one_accepted_first_is_spoken_first(
    kokoro: KokoroVoice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In whatever order the log has them."""
    order: list[str] = []
    monkeypatch.setattr(kokoro_voice, "say", lambda *_: np.ones(100, np.float32))

    async def speak(name: str, accepted: float) -> None:
        await kokoro.speak(request("好。", accepted=accepted))
        order.append(name)

    now = time.time()
    await asyncio.gather(
        *(
            speak(name, now - ago)
            for name, ago in (("at once", 1), ("third", 20), ("first", 40), ("second", 30))
        )
    )
    assert order == ["at once", "first", "second", "third"]


def test_what_waits_for_long_passes_nobody_for_more_than_a_minute() -> None:
    """A person's one text that comes now is not behind all that others sent an hour ago."""
    one = waits_since(accepted=3600.0, now=3600.0, moment=10.0)
    soon = waits_since(accepted=0.0, now=3650.0, moment=60.0)
    late = waits_since(accepted=100.0, now=3665.0, moment=75.0)
    assert soon < one < late


def test_a_clock_that_is_wrong_does_not_starve_what_it_accepts() -> None:
    ahead = waits_since(accepted=7200.0, now=3600.0, moment=10.0)
    assert ahead == waits_since(accepted=3600.0, now=3600.0, moment=10.0)


async def test_a_crowd_that_was_accepted_later_does_not_starve_a_long_text(
    kokoro: KokoroVoice, loaded: _Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gets every other turn at least."""
    text, others = "你好吗？" * 100, 20
    order: list[str] = []
    monkeypatch.setattr(kokoro_voice, "say", lambda *_: np.ones(100, np.float32))
    monkeypatch.setattr(kokoro_voice, "nearest", lambda *_: VOICES[0])

    async def speak(name: str, text: str, accepted: float) -> None:
        await kokoro.speak(request(text, accepted=accepted))
        order.append(name)

    await asyncio.gather(
        speak("long", text, time.time() - 30),
        *(speak("later", "好。", time.time()) for _ in range(others)),
    )
    assert order.index("long") < len(loaded.reader.pieces(text)) < others


async def test_speed_changes_the_length(kokoro: KokoroVoice) -> None:
    text = "很高兴认识你。"
    slow, fast = await asyncio.gather(
        *(kokoro.speak(request(text, speed=speed)) for speed in (0.5, 2.0))
    )
    assert slow.seconds > 2 * fast.seconds


@pytest.mark.parametrize(("text", "code"), [("。！", "text_empty"), ("привет", "text_unreadable")])
async def test_a_refused_request_leaves_its_neighbours_alone(
    kokoro: KokoroVoice, text: str, code: str
) -> None:
    refused, spoken = await asyncio.gather(
        kokoro.speak(request(text)), kokoro.speak(request("好。")), return_exceptions=True
    )
    assert isinstance(refused, BadRecord)
    assert refused.code == code
    assert not isinstance(spoken, BaseException)


async def test_endless_speech_is_refused(
    kokoro: KokoroVoice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kokoro_voice, "MAX_SECONDS", 0.1)
    with pytest.raises(BadRecord) as refused:
        await kokoro.speak(request("好。"))
    assert refused.value.code == "output_too_long"


async def test_a_cancelled_request_takes_no_more_turns(
    kokoro: KokoroVoice, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    first = asyncio.Event()
    loop = asyncio.get_running_loop()

    def say(_: _Loaded, piece: str, *__: object) -> np.ndarray:
        said.append(piece)
        loop.call_soon_threadsafe(first.set)
        return np.ones(100, np.float32)

    monkeypatch.setattr(kokoro_voice, "say", say)
    task = asyncio.create_task(kokoro.speak(request("你好吗？" * 3000)))
    await first.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await kokoro.speak(request("好。"))
    # The pieces in hand when it was cancelled, and the one of the request after it.
    assert len(said) < 20


async def test_not_started_is_not_ready() -> None:
    voice = KokoroVoice()
    with pytest.raises(Unavailable):
        await voice.ready()
    with pytest.raises(Unavailable):
        await voice.speak(request("好。"))
    await voice.aclose()


def test_the_parts_are_joined_within_the_peak() -> None:
    loud, soft = np.full(10, 1.5, np.float32), np.full(5, 0.1, np.float32)
    whole = join([loud, soft])
    assert np.abs(whole).max() <= 0.98
    assert len(whole) > len(loud) + len(soft)
    assert np.array_equal(join([soft]), soft)


def test_there_is_a_portrait_of_every_voice(loaded: _Loaded) -> None:
    assert loaded.portraits.shape == (len(VOICES), 256)
    assert np.allclose(np.linalg.norm(loaded.portraits, axis=1), 1, atol=1e-3)
