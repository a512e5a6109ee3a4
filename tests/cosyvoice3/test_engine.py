"""The engine on the tiny model: company changes nothing, and nothing is left behind."""

from __future__ import annotations

import asyncio
import dataclasses
import random

import numpy as np
import pytest
import torch

from synth.cosyvoice3 import BadModel, Exhausted, Mode, Recording, Refused, Request, Stopped
from synth.cosyvoice3.prompt import Prompt
from synth.cosyvoice3.runner import Speak, Start
from tests.cosyvoice3.conftest import Listener, MakeEngine, recording, run

WORDS = "收到好友从远方寄来的生日礼物那份意外的惊喜与深深的祝福"


def request(text: str = "你好吗", seed: int = 0, **more: object) -> Request:
    return Request(text, more.pop("recording", recording()), seed=seed, **more)


def test_alone_is_as_in_a_batch_of_32(engine: MakeEngine) -> None:
    one = request("生日礼物", seed=9)
    alone = run(engine(slots=1), one)[0].sound
    company = [request(WORDS[i % 9 : i % 9 + 1 + i % 5], seed=i) for i in range(31)]
    crowd = engine(slots=32, admit=32)
    together = run(crowd, *company[:20], one, *company[20:])[20].sound
    assert len(alone) == len(together) > 24_000 * 0.3
    assert np.abs(alone - together).max() < 1e-3 * alone.std()
    assert crowd.held == 0


def test_a_row_of_the_runner_is_the_same_in_a_batch_of_32(engine: MakeEngine) -> None:
    runner = engine(slots=32, admit=32).core.runner
    for voice in range(3):
        runner.hold(voice, features(voice))
    rows = [
        Speak(i % 3, tuple(range(i, 400 + i, 17 - i % 9)), 0, stream=i % 4 == 0, final=i % 5 > 0)
        for i in range(32)
    ]
    assert len({len(row.tokens) for row in rows}) > 5
    together = runner.speak(rows).result()
    for i in (0, 5, 13, 31):
        alone = runner.speak([rows[i]]).result()[0]
        assert len(alone) == len(together[i])
        assert np.abs(alone - together[i]).max() < 1e-3 * alone.std()
    starts = [
        Start(i, tuple(range(i, 40 + i)), i % 3, i % 2 > 0, least=8, most=30, seed=i)
        for i in range(32)
    ]
    runner.start(starts)
    crowd = runner.decode(32, 256, 24).result()
    for i in (0, 9, 31):
        runner.start([dataclasses.replace(starts[i], slot=0)])
        assert runner.decode(1, 256, 24).result()[0] == crowd[i]


def features(seed: int) -> Prompt:
    """Features of one voice, of another length for each seed."""
    count = 25 + 4 * seed
    chance = torch.Generator().manual_seed(seed)
    return Prompt(
        torch.randint(0, 6561, (count,), generator=chance),
        torch.randn(2 * count, 80, generator=chance),
        torch.randn(192, generator=chance),
    )


def test_as_many_tokens_come_as_are_asked_for(engine: MakeEngine) -> None:
    one = engine(steps=1)
    exact = Listener(one, request(), tokens=(21, 21))
    bounded = Listener(one, request(seed=1), tokens=(5, 9))
    seen: dict[int, int] = {}
    while one.step():
        for piece in one.core.scheduler._speaking:
            seen[piece.utterance] = piece.produced
    assert seen[exact.number] == 21
    assert 5 <= seen[bounded.number] <= 9
    assert len(exact.sound) <= 21 * 960


def test_streamed_is_the_whole(engine: MakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    one = engine()
    rows: list[Speak] = []
    speak = one.core.runner.speak
    monkeypatch.setattr(one.core.runner, "speak", lambda r: (rows.extend(r), speak(r))[1])
    listener = Listener(one, request(WORDS[:14], seed=3, stream=True))
    one.step()
    voice = next(iter(one.core.runner.voices.values()))
    while one.step():
        pass
    chunks = listener.items[:-1]
    assert len(chunks) >= 3
    assert len(chunks[0]) < len(chunks[1])
    last = rows[-1]
    assert last.final
    one.core.runner.voices[last.voice] = voice
    whole = speak([dataclasses.replace(last, samples=0)]).result()[0]
    assert len(whole) == len(listener.sound) == 960 * len(last.tokens)
    assert np.abs(whole - listener.sound).max() < 2e-3 * whole.std()


@pytest.mark.parametrize("speed", [0.7, 1.6])
def test_speed_changes_length_streamed_or_not(engine: MakeEngine, speed: float) -> None:
    plain, fast = request(WORDS[:14]), request(WORDS[:14], speed=speed)
    normal, paced = (listener.sound for listener in run(engine(), plain, fast))
    assert len(paced) == int(len(normal) / 480 / speed) * 480
    streamed = run(engine(), dataclasses.replace(fast, stream=True))[0].sound
    assert len(streamed) == len(paced)


def test_seeds_reproduce_and_differ(engine: MakeEngine) -> None:
    one = engine(deterministic=True, slots=4)
    again, other, same = (run(one, request(seed=s))[0].sound for s in (4, 5, 4))
    assert again.tobytes() == same.tobytes()
    assert len(other) != len(again) or not np.array_equal(other, again)
    crowd = run(one, request(seed=1), request(seed=2), request(seed=4), request(seed=3))
    assert crowd[2].sound.tobytes() == again.tobytes()


@pytest.mark.parametrize("stream", [False, True])
def test_cancelling_at_every_step_leaves_nothing(engine: MakeEngine, stream: bool) -> None:
    one = engine(steps=1, burst=2)
    ask = request(WORDS[:2], stream=stream)
    cancelled = 0
    for steps in range(60):
        listener = Listener(one, ask, tokens=(32, 34))
        for _ in range(steps):
            one.step()
        done = bool(listener.items) and listener.items[-1] is None
        one.cancel(listener.number)
        had = len(listener.items)
        while one.step():
            pass
        assert one.held == 0
        assert len(listener.items) == had
        cancelled += not done
        if done:
            break
    assert cancelled > 10


def test_500_random_requests(engine: MakeEngine) -> None:
    chance = random.Random(11)
    one = engine(steps=1, slots=12, burst=8, memory=200 << 20)
    voices = [recording(1.0 + 0.2 * i, seed=i) for i in range(3)]
    limit = one.core.scheduler.frames
    waiting = [_random_request(chance, voices) for _ in range(500)]
    live: dict[int, Listener] = {}
    cancelled: dict[int, tuple[Listener, int]] = {}
    ended: list[Listener] = []
    while waiting or live:
        for ask in waiting[: chance.randrange(6)]:
            least = chance.randrange(1, 16)
            listener = Listener(one, ask, tokens=(least, least + chance.randrange(20)))
            live[listener.number] = listener
            waiting.remove(ask)
        if live and chance.random() < 0.3:
            number = chance.choice(list(live))
            cancelled[number] = (live[number], len(live.pop(number).items))
            one.cancel(number)
        one.step()
        _check(one.core.scheduler, limit)
        for number in [n for n, item in live.items() if item.items and item.items[-1] is None]:
            ended.append(live.pop(number))
    while one.step():
        pass
    assert one.held == 0
    assert len(ended) + len(cancelled) == 500
    assert len(cancelled) > 30
    assert all(len(listener.items) == had for listener, had in cancelled.values())
    for listener in ended:
        assert sum(item is None for item in listener.items) == 1
        assert len(listener.sound) % 480 == 0
        assert np.isfinite(listener.sound).all()
        assert np.abs(listener.sound).max() <= 0.99


def _random_request(chance: random.Random, voices: list[Recording]) -> Request:
    length = chance.choice([1, 1, 1, 2, 3])
    start = chance.randrange(len(WORDS) - length)
    mode = chance.choice(list(Mode))
    return Request(
        WORDS[start : start + length],
        chance.choice(voices),
        mode,
        instruct="四川" if mode == Mode.INSTRUCT else None,
        speed=chance.choice([1.0, 1.0, 0.8, 1.5]),
        seed=chance.randrange(2**40),
        stream=chance.random() < 0.3,
    )


def _check(scheduler: object, limit: int) -> None:
    running = scheduler._running
    assert all(piece.slot == slot for slot, piece in running.items())
    assert sorted([*running, *scheduler._free]) == list(range(scheduler.slots))
    assert all(p.prefix + p.produced <= scheduler.length for p in running.values())
    assert scheduler.frames <= limit


async def test_a_slow_reader_stalls_nobody(engine: MakeEngine) -> None:
    one = engine()
    slow = one.speak(request(WORDS, stream=True))
    await anext(slow)
    others = await asyncio.gather(*(one.say(request(seed=i)) for i in range(6)))
    assert len(others) == 6
    rest = [chunk async for chunk in slow]
    assert rest


async def test_a_reader_that_leaves_cancels(engine: MakeEngine) -> None:
    one = engine()
    reader = one.speak(request(WORDS * 2, stream=True))
    await anext(reader)
    await reader.aclose()
    await one.say(request())
    one.close()
    assert one.held == 0


async def test_long_text_is_spoken_whole_and_in_order(engine: MakeEngine) -> None:
    one = engine(deterministic=True)
    text = "".join(f"{word}了。" for word in WORDS + WORDS[:8])
    pieces = one.frontend.prepare(request(text)).pieces
    assert len(pieces) == 2
    chunks = [chunk async for chunk in one.speak(request(text))]
    assert len(chunks) == len(pieces)
    first = one.frontend.tokenizer.decode(list(pieces[0].ids)).split("<|endofprompt|>希望你")[1]
    alone = await one.say(dataclasses.replace(request(first), normalise=False))
    assert np.array_equal(chunks[0], alone)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"recording": recording(0.9)}, "prompt_too_short"),
        ({"recording": recording(30.1)}, "prompt_too_long"),
        ({"recording": Recording(np.zeros(48_000, np.float32), 24_000)}, "prompt_unusable"),
        ({"recording": Recording(np.full(48_000, np.nan, np.float32), 24_000)}, "prompt_unusable"),
        ({"text": " 。，…"}, "text_empty"),
        ({"text": "她[hoa4]了"}, "text_unreadable"),
        ({"mode": Mode.INSTRUCT}, "instruct_missing"),
        ({"speed": 2.5}, "speed_out_of_range"),
        (
            {"text": "字" * 400, "recording": recording(29, transcript="字" * 700)},
            "output_too_long",
        ),
    ],
)
async def test_limits_are_refused(engine: MakeEngine, change: dict[str, object], code: str) -> None:
    one = engine()
    with pytest.raises(Refused) as refused:
        await one.say(dataclasses.replace(request(), **change))
    assert refused.value.code == code
    assert one.held == 0


def test_prompt_and_output_beyond_300_seconds_are_refused(engine: MakeEngine) -> None:
    one = engine(length=16_384, memory=8 << 30)
    prepared = one.frontend.prepare(request(recording=recording(30)))
    piece = dataclasses.replace(prepared.pieces[0], least=270 * 25 + 1)
    with pytest.raises(Refused, match="too long"):
        one.core.check(dataclasses.replace(prepared, pieces=(piece,)))
    one.core.check(
        dataclasses.replace(prepared, pieces=(dataclasses.replace(piece, least=270 * 25),))
    )


def test_text_without_any_speech_token_is_refused(engine: MakeEngine) -> None:
    one = engine()
    one.core.runner.networks.lm.head.weight.data.zero_()
    ask = request()
    prepared = one.frontend.prepare(ask)
    silent = dataclasses.replace(prepared.pieces[0], least=0, most=0)
    items: list[object] = []
    one.submit(ask, dataclasses.replace(prepared, pieces=(silent,)), items.append)
    while one.step():
        pass
    assert isinstance(items[0], Refused)
    assert one.held == 0


def test_out_of_memory_shrinks_the_batch(
    engine: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = engine(slots=8)
    speak, start = one.core.runner.speak, one.core.runner.start

    def small(work: object, most: int) -> object:
        def limited(rows: list[object]) -> object:
            if len(rows) > most:
                raise torch.OutOfMemoryError("too much")
            return work(rows)

        return limited

    monkeypatch.setattr(one.core.runner, "speak", small(speak, 1))
    monkeypatch.setattr(one.core.runner, "start", small(start, 3))
    before = one.core.scheduler.frames
    sounds = [listener.sound for listener in run(one, *(request() for _ in range(12)))]
    assert len(sounds) == 12
    assert one.core.scheduler.frames < before
    assert one.core.scheduler.admit <= 3
    monkeypatch.setattr(one.core.runner, "speak", small(speak, 0))
    assert isinstance(run(one, request())[0].error, Exhausted)
    assert one.held == 0


@pytest.mark.parametrize("stream", [False, True])
def test_decoding_that_finds_no_memory_goes_on_in_a_smaller_crowd(
    engine: MakeEngine, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    asks = [request("生日礼物"[i:], seed=i, stream=stream) for i in range(4)]
    wanted = [listener.sound for listener in run(engine(slots=4), *asks)]
    one = engine(slots=4)
    decode, bursts = one.core.runner.decode, iter(range(1000))

    def crowded(rows: int, span: int, burst: int) -> object:
        decoded = decode(rows, span, burst)
        if next(bursts) > 3 and rows > 2:
            raise torch.OutOfMemoryError("too much")  # when the slots have gone on already
        return decoded

    def full(*_: object) -> object:
        raise torch.OutOfMemoryError("full")

    monkeypatch.setattr(one.core.runner, "decode", crowded)
    got = [listener.sound for listener in run(one, *asks)]
    assert one.core.scheduler.crowd == 2
    assert [len(sound) for sound in got] == [len(sound) for sound in wanted]
    for sound, want in zip(got, wanted, strict=True):
        assert np.abs(sound - want).max() < 2e-3 * want.std()
    monkeypatch.setattr(one.core.runner, "decode", full)
    assert isinstance(run(one, request())[0].error, Exhausted)
    assert one.held == 0


def test_sound_that_is_no_number_is_an_error(engine: MakeEngine) -> None:
    one = engine()
    one.core.runner.networks.flow.estimator.out.bias.data.fill_(float("nan"))
    ends = run(one, request(), request("再见"))
    assert all(isinstance(listener.error, BadModel) for listener in ends)
    assert one.held == 0


async def test_a_lost_device_ends_all_and_says_why(
    engine: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = engine()

    def lost(*_: object) -> None:
        raise RuntimeError("CUDA error: the device is gone")

    monkeypatch.setattr(one.core.runner, "decode", lost)
    ends = await asyncio.gather(*(one.say(request()) for _ in range(3)), return_exceptions=True)
    assert all(isinstance(end, Stopped) for end in ends)
    assert "the device is gone" in str(one.stopped)
    with pytest.raises(Stopped):
        await one.say(request())
    assert one.held == 0
