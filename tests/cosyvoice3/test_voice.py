"""CosyVoice3 behind the Voice port, and the commands about its weights."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from relay.errors import BadRecord, Lost, Misconfigured, Unavailable
from schemas.events import Mode, SpeechSynthesized
from synth.cosyvoice3 import Stopped, accept, checkpoint
from synth.cosyvoice3_voice import CosyVoice3Settings, CosyVoice3Voice, _request
from synth.settings import SynthSettings
from synth.stage import Synth
from synth.voice import Refusal, SpeechRequest
from synth.voices import make_voice
from tests.cosyvoice3.conftest import recording
from tests.synth.test_stage import House, context, house
from voxrelay.model import _sounds_apart, app

__all__ = ["house"]


def asked(text: str = "你好", **fields: object) -> SpeechRequest:
    prompt = recording()
    given = {"request_id": "r", "prompt": prompt.samples, "prompt_rate": prompt.rate}
    return SpeechRequest(text=text, prompt_id="p", **{**given, "transcript": "希望你", **fields})


@pytest.fixture
async def voice(model: Path) -> AsyncIterator[CosyVoice3Voice]:
    settings = CosyVoice3Settings(folder=model, device="cpu", deterministic=True, unaccepted=True)
    made = CosyVoice3Voice(None, settings)
    await made.start()
    yield made
    await made.aclose()


async def test_speaks_and_says_who_spoke(voice: CosyVoice3Voice) -> None:
    speech = await voice.speak(asked(seed=3))
    again = await voice.speak(asked(seed=3, request_id="another"))
    assert speech.rate == 24_000
    assert speech.samples.tobytes() == again.samples.tobytes()
    assert speech.spoken.cloned
    assert speech.spoken.digest == voice.digest
    assert (speech.spoken.engine, speech.spoken.device) == ("cosyvoice3", "cpu")


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"text": "读[hoa4]"}, Refusal.TEXT_UNREADABLE),
        ({"text": "……"}, Refusal.TEXT_EMPTY),
        ({"prompt": recording(0.5).samples}, Refusal.PROMPT_TOO_SHORT),
        ({"prompt": recording().samples * 0}, Refusal.PROMPT_UNUSABLE),
        ({"mode": Mode.INSTRUCT}, Refusal.INSTRUCT_MISSING),
    ],
)
async def test_refusals_are_the_port_s(
    voice: CosyVoice3Voice, fields: dict[str, object], code: Refusal
) -> None:
    with pytest.raises(BadRecord) as refused:
        await voice.speak(asked(**fields))
    assert refused.value.code == code


async def test_a_lost_device_is_our_world_s_fault(
    voice: CosyVoice3Voice, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_: object) -> None:
        raise RuntimeError("CUDA error: the device is gone")

    assert voice._engine is not None
    monkeypatch.setattr(voice._engine.core.runner, "decode", lost)
    with pytest.raises(Unavailable):
        await voice.speak(asked())
    with pytest.raises(Unavailable, match="has stopped"):
        await voice.ready()


async def test_an_engine_stopped_by_its_device_is_loaded_anew(
    voice: CosyVoice3Voice, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_: object) -> None:
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    before = voice._engine
    assert before is not None
    monkeypatch.setattr(before.core.runner, "decode", lost)
    ends = await asyncio.gather(*(voice.speak(asked()) for _ in range(3)), return_exceptions=True)
    assert all(isinstance(end, Unavailable) for end in ends)
    with monkeypatch.context() as gone:
        gone.setattr(checkpoint, "load", lost)
        with pytest.raises(Lost, match="did not come back"):
            await voice.speak(asked())
    again = await asyncio.gather(*(voice.speak(asked()) for _ in range(3)))
    assert len({speech.samples.tobytes() for speech in again}) == 1
    assert voice._engine is not before
    await voice.ready()


async def test_a_bug_in_the_engine_is_no_lost_device(
    voice: CosyVoice3Voice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It belongs to a record: told as a lost device, that record would stop everybody for ever."""

    def bug(*_: object) -> None:
        raise IndexError("index 9 is out of range")

    assert voice._engine is not None
    monkeypatch.setattr(voice._engine.core.runner, "decode", bug)
    with pytest.raises(Stopped) as raised:
        await voice.speak(asked())
    assert isinstance(raised.value.__cause__, IndexError)
    with pytest.raises(Unavailable, match="has stopped"):
        await voice.ready()


async def test_no_memory_to_begin_with_is_waited_for(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("full")

    monkeypatch.setattr(checkpoint, "load", full)
    settings = CosyVoice3Settings(folder=model, device="cpu", unaccepted=True)
    with pytest.raises(Unavailable, match="no memory"):
        await CosyVoice3Voice(None, settings).start()


async def test_no_memory_is_our_world_s_fault(
    voice: CosyVoice3Voice, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("full")

    assert voice._engine is not None
    monkeypatch.setattr(voice._engine.core.runner, "speak", full)
    with pytest.raises(Unavailable):
        await voice.speak(asked())
    await voice.ready()


async def test_not_ready_before_acceptance_of_these_very_weights(model: Path) -> None:
    voice = CosyVoice3Voice(None, CosyVoice3Settings(folder=model, device="cpu"))
    with pytest.raises(Unavailable, match="not loaded"):
        await voice.ready()
    with pytest.raises(Unavailable, match="did not pass"):
        await voice.start()
    digest = checkpoint.digest(model)
    report = accept.write(accept.Report(digest, "float32", "cpu", True, (), {}, 1.0, ()), model)
    await voice.ready()
    report.unlink()
    await voice.aclose()


async def test_features_outlive_the_process(model: Path, voice: CosyVoice3Voice) -> None:
    class Kept:
        def __init__(self) -> None:
            self.data: dict[str, bytes] = {}

        async def get(self, made_by: str) -> bytes | None:
            return self.data.get(made_by)

        async def put(self, made_by: str, data: bytes) -> None:
            self.data.setdefault(made_by, data)

    kept = Kept()
    first = await voice.speak(asked(features=kept))
    assert len(kept.data) == 1
    other = CosyVoice3Voice(
        None, CosyVoice3Settings(folder=model, device="cpu", deterministic=True, unaccepted=True)
    )
    await other.start()
    second = await other.speak(asked(features=kept))
    assert other._engine is not None
    assert other._engine.frontend.prompts.computed == 0
    assert first.samples.tobytes() == second.samples.tobytes()
    await other.aclose()


async def test_the_stage_is_answered_in_any_order_and_adopts_its_own_work(
    house: House, voice: CosyVoice3Voice
) -> None:
    stage = Synth(voice, house.store)
    heads = [context() for _ in range(5)]
    asked_for = [house.approved(text="你好" * (5 - i), seed=i) for i in range(5)]
    done: list[int] = []

    async def handle(index: int) -> SpeechSynthesized:
        (event,) = await stage.handle(asked_for[index], heads[index])
        done.append(index)
        assert isinstance(event, SpeechSynthesized)
        return event

    events = await asyncio.gather(*map(handle, range(5)))
    assert sorted(done) == list(range(5))
    assert done != sorted(done)
    assert len({event.speech.sha256 for event in events}) == 5
    assert await handle(3) == events[3]
    assert not events[3].cached
    with pytest.raises(BadRecord) as refused:
        await stage.handle(house.approved(text="读[hoa4]"), context())
    assert refused.value.code == Refusal.TEXT_UNREADABLE


def test_a_preset_is_told_in_the_words_of_the_training() -> None:
    loud = asked(mode=Mode.INSTRUCT, style="loud", instruct="请用大一点的音量说。慢一点")
    assert _request(loud).instruct == "Please say a sentence as loudly as possible.慢一点"
    gentle = asked(mode=Mode.INSTRUCT, style="gentle", instruct="请用温柔的语气说。")
    assert _request(gentle).instruct == "请用温柔的语气说。"
    assert _request(asked()).instruct is None


def test_the_settings_choose_it(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOXRELAY_COSYVOICE3_FOLDER", str(model))
    made = make_voice(SynthSettings(voice="cosyvoice3"), None)
    assert isinstance(made, CosyVoice3Voice)
    assert len(made.digest) == 64
    monkeypatch.delenv("VOXRELAY_COSYVOICE3_FOLDER")
    with pytest.raises(Misconfigured):
        make_voice(SynthSettings(voice="cosyvoice3"), None)


def test_the_commands_write_and_check(tmp_path: Path) -> None:
    run = CliRunner()
    folder = str(tmp_path / "m")
    made = run.invoke(app, ["tiny", folder, "--json"])
    assert (made.exit_code, json.loads(made.output)["ok"]) == (0, True)
    said = run.invoke(app, ["check", folder, "--json"])
    assert (said.exit_code, json.loads(said.output)["ok"]) == (0, True)
    (tmp_path / "m" / "hift.pt").unlink()
    said = run.invoke(app, ["check", folder])
    assert said.exit_code == 1
    assert "missing   hift.pt" in said.output
    assert run.invoke(app, ["pull", "another"]).exit_code == 2


def test_a_folder_is_all_that_acceptance_has_to_be_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    examined: list[tuple[object, ...]] = []

    async def examine(*asked: object) -> accept.Report:
        examined.append(asked)
        return accept.Report("d", "float32", "cpu", False, ("misheard",), {}, 0.0, ())

    monkeypatch.setattr("voxrelay.model._examine", examine)
    said = CliRunner().invoke(app, ["accept", str(tmp_path)])
    assert said.exit_code == 1
    assert "not passed" in said.output
    ((folder, voice, transcript, *_),) = examined
    assert folder == tmp_path
    assert isinstance(voice, Path)
    assert voice.is_file()
    assert transcript
    assert (tmp_path / "acceptance-float32.json").is_file()


def test_homophones_are_the_recogniser_s_mistake() -> None:
    assert _sounds_apart("他在家里", "她在家裡。") == 0
    assert _sounds_apart("你好", "再见") == 1
