"""The voices that are built in, and how the stage is opened around one."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from relay.errors import Misconfigured, Unavailable
from relay.objects.disk import DiskStore
from relay.telemetry import Health
from synth import __main__ as door
from synth.kokoro.voice import KokoroVoice
from synth.settings import SynthSettings
from synth.voices import make_voice


def test_the_demo_voice_is_the_default_and_loads_nothing_before_start(tmp_path: Path) -> None:
    assert isinstance(make_voice(SynthSettings(), tmp_path), KokoroVoice)


def test_an_unknown_voice_refuses_to_start_and_says_which_there_are() -> None:
    with pytest.raises(Misconfigured, match=r"VOXRELAY_SYNTH_VOICE.*kokoro"):
        make_voice(SynthSettings(voice="parrot"), None)


async def test_the_stage_waits_for_its_voice_and_closes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []

    class Late:
        async def start(self) -> None:
            said.append("start")
            if len(said) == 1:
                raise Unavailable("not yet")

        async def ready(self) -> None:
            said.append("ready")

        async def aclose(self) -> None:
            said.append("closed")

    monkeypatch.setattr(door, "make_voice", lambda *_: Late())
    spine: Any = SimpleNamespace(
        settings=SimpleNamespace(models=None), health=Health(), store=DiskStore(tmp_path)
    )
    with suppress(KeyError):
        async with door.open_stage(SynthSettings())(spine) as stage:
            assert spine.health.ready
            await stage.check()
            raise KeyError
    assert said == ["start", "start", "ready", "closed"]


def test_settings_reach_the_runner() -> None:
    assert door.limits(SynthSettings(in_flight=3)).in_flight == 3
