"""Runs synth as a process of its own: settings in, runner out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from relay.process import Build, run_stage
from relay.retry import until_available
from relay.runner import Limits
from relay.spine import Spine
from relay.stage import Stage
from synth.settings import SynthSettings
from synth.stage import Synth
from synth.voices import make_voice


def open_stage(settings: SynthSettings) -> Build:
    """Opens the stage: the voice is started first, and waited for."""

    @asynccontextmanager
    async def opened(spine: Spine) -> AsyncIterator[Stage]:
        voice = make_voice(settings, spine.settings.models)
        try:
            await until_available(voice.start, "voice", spine.health)
            yield Synth(voice, spine.store)
        finally:
            await voice.aclose()

    return opened


def limits(settings: SynthSettings) -> Limits:
    """How much the process takes on."""
    return Limits(in_flight=settings.in_flight)


if __name__ == "__main__":
    _settings = SynthSettings()
    run_stage(open_stage(_settings), limits(_settings))
