"""The voices that are built in, by the name the settings use.

Knows how to make each. To add one, write a class that keeps the promises of `synth.voice.Voice`
and add its line here; the stage stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from relay.errors import Misconfigured
from synth.settings import SynthSettings
from synth.voice import Voice


def make_voice(settings: SynthSettings, models: Path | None) -> Voice:
    """The voice that the settings name, not yet started; `Misconfigured` where there is none."""
    maker = _MAKERS.get(settings.voice)
    if maker is None:
        raise Misconfigured(
            f"VOXRELAY_SYNTH_VOICE is {settings.voice!r}; there are {', '.join(_MAKERS)}"
        )
    return maker(settings, models)


def _kokoro(settings: SynthSettings, models: Path | None) -> Voice:
    from synth.kokoro.voice import KokoroVoice

    return KokoroVoice(models, workers=settings.workers, threads=settings.threads)


def _cosyvoice3(_: SynthSettings, models: Path | None) -> Voice:
    from synth.cosyvoice3_voice import CosyVoice3Settings, CosyVoice3Voice

    return CosyVoice3Voice(models, CosyVoice3Settings())


# Imported when named: a GPU process loads no demo voice.
_MAKERS: Mapping[str, Callable[[SynthSettings, Path | None], Voice]] = {
    "cosyvoice3": _cosyvoice3,
    "kokoro": _kokoro,
}
