"""CosyVoice3 behind the `Voice` port: the adapter between the stage's words and the engine's.

Knows which refusal of the engine is which of the port's, and that no weights speak for users
before they passed acceptance. Refuses to know networks, objects, events and the log.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from relay.errors import BadRecord, Lost, Misconfigured, Unavailable
from schemas.styles import BY_NAME
from synth.voice import Refusal, Speech, SpeechRequest, Spoken, refuse

if TYPE_CHECKING:
    from synth.cosyvoice3 import Engine, Recording, Request

_ENGINE, _VERSION = "cosyvoice3", "0.5b"
_REVISION = 1
"""Raise it when code here or in the engine changes what is heard."""


class CosyVoice3Settings(BaseSettings):
    """How the engine runs (`VOXRELAY_COSYVOICE3_*`). What is not set, the device decides."""

    model_config = SettingsConfigDict(
        env_prefix="VOXRELAY_COSYVOICE3_", frozen=True, extra="ignore"
    )

    folder: Path | None = Field(default=None, description="Where the released files lie.")
    device: str | None = Field(default=None, description="`cuda`, `cuda:1`, `cpu`.")
    precision: str = Field(
        default="float32", description="`float32`, `bfloat16` or `float16`; each is accepted apart."
    )
    slots: int | None = Field(default=None, ge=1, description="Utterances decoded at once.")
    memory_mb: int | None = Field(default=None, ge=1, description="MiB for cache and batches.")
    deterministic: bool = Field(
        default=False, description="Fixed shapes: the same request gives the same bytes."
    )
    unaccepted: bool = Field(
        default=False, description="Speak with weights that did not pass `voxrelay model accept`."
    )


class CosyVoice3Voice:
    """The engine, loaded once and shared by all requests in flight."""

    def __init__(self, models: Path | None, settings: CosyVoice3Settings) -> None:
        folder = settings.folder or (models / "cosyvoice3" if models else None)
        if folder is None:
            raise Misconfigured("VOXRELAY_COSYVOICE3_FOLDER names no folder with the model")
        self._folder, self._settings = folder, settings
        self._engine: Engine | None = None
        self._loading = asyncio.Lock()

    @cached_property
    def digest(self) -> str:
        """Hash over the weights, this code's revision, precision and shapes."""
        fixed = self._settings.deterministic
        decides = [self._weights, _REVISION, self._settings.precision, fixed]
        return hashlib.sha256(json.dumps(decides).encode()).hexdigest()

    @cached_property
    def _weights(self) -> str:
        """Hash over the files; gigabytes are read for it, once."""
        from synth.cosyvoice3 import BadModel
        from synth.cosyvoice3.checkpoint import digest

        try:
            return digest(self._folder)
        except BadModel as err:
            raise Misconfigured(f"VOXRELAY_COSYVOICE3_FOLDER: {err}") from err

    async def start(self) -> None:
        """Load the weights; `Unavailable` while they or the device are not to be had."""
        await self._load()
        await asyncio.to_thread(lambda: self.digest)
        await self.ready()

    async def ready(self) -> None:
        """`Unavailable` before it is loaded, after its device was lost, and until accepted."""
        if self._engine is None:
            raise Unavailable("CosyVoice3 is not loaded")
        if self._engine.stopped is not None:
            raise Unavailable(f"CosyVoice3 has stopped: {type(self._engine.stopped).__name__}")
        if not self._settings.unaccepted:
            await asyncio.to_thread(self._check_accepted)

    async def speak(self, request: SpeechRequest) -> Speech:
        """Speak one request; see `Voice`. `Lost` where a fault left the device out of reach."""
        from synth.cosyvoice3 import BadModel, Exhausted, Refused, Stopped

        await self._revive()
        await self.ready()
        engine = self._engine  # which `aclose` takes away while its last callers are told
        assert engine is not None
        asked = _request(request)
        await self._recall(request, asked.recording)
        try:
            samples = await engine.say(asked)
        except Refused as err:
            raise _refusal(err.code) from err
        except (BadModel, Exhausted, Stopped) as err:
            if isinstance(err, Stopped) and engine.broken:
                raise  # a bug: it belongs to one of those that were being spoken
            raise Unavailable(f"CosyVoice3 cannot speak now: {err}") from err
        await self._keep(request, asked.recording)
        who = Spoken(
            engine=_ENGINE,
            voice="",
            version=_VERSION,
            digest=self.digest,
            device=engine.core.runner.device.type,
            cloned=True,
        )
        return Speech(samples, engine.sample_rate, who)

    async def aclose(self) -> None:
        """Cancel what is running and give the device back."""
        if self._engine is not None:
            await asyncio.to_thread(self._engine.close)
        self._engine = None

    async def _load(self) -> None:
        from synth.cosyvoice3 import BadModel, Engine, Exhausted
        from synth.cosyvoice3.settings import Settings

        memory = self._settings.memory_mb
        wanted = Settings(
            device=self._settings.device,
            precision=self._settings.precision,
            slots=self._settings.slots,
            memory=memory << 20 if memory else None,
            deterministic=self._settings.deterministic,
        )
        try:
            self._engine = await asyncio.to_thread(Engine.load, self._folder, wanted)
        except (BadModel, Exhausted) as err:
            raise Unavailable(f"CosyVoice3 cannot be loaded: {err}") from err

    async def _revive(self) -> None:
        """Load an engine anew that a fault of its device stopped; once, for all who ask."""
        from synth.cosyvoice3.device import is_device_fault

        async with self._loading:
            engine = self._engine
            if engine is None or engine.stopped is None or not is_device_fault(engine.stopped):
                return
            await asyncio.to_thread(engine.close)
            try:
                await self._load()
            except RuntimeError as err:
                if not is_device_fault(err):
                    raise
                raise Lost(f"the device did not come back: {type(err).__name__}") from err

    def _check_accepted(self) -> None:
        from synth.cosyvoice3 import accept

        precision = self._settings.precision
        if not accept.passed(self._folder, precision, self._weights):
            raise Unavailable(f"these weights did not pass `voxrelay model accept` in {precision}")

    async def _recall(self, request: SpeechRequest, recording: Recording) -> None:
        """Features of the recording from where they were kept, if this process has none."""
        assert self._engine is not None
        prompts = self._engine.frontend.prompts
        if request.features is None or prompts.known(recording):
            return
        data = await request.features.get(prompts.digest)
        if data is not None:
            prompts.remember(recording, data)

    async def _keep(self, request: SpeechRequest, recording: Recording) -> None:
        assert self._engine is not None
        prompts = self._engine.frontend.prompts
        if request.features is not None and (data := prompts.fresh(recording)):
            await request.features.put(prompts.digest, data)


def _request(request: SpeechRequest) -> Request:
    from synth.cosyvoice3 import Mode, Recording, Request

    recording = Recording(request.prompt, request.prompt_rate, request.transcript)
    return Request(
        text=request.text,
        recording=recording,
        mode=Mode(str(request.mode)),
        instruct=_instruct(request),
        speed=request.speed,
        seed=request.seed,
    )


def _instruct(request: SpeechRequest) -> str | None:
    """The instruction, a preset's words replaced by those the model was trained on."""
    from synth.cosyvoice3 import catalogue

    said = (request.instruct or "").strip()
    entry = catalogue.find(request.style) if request.style else None
    preset = BY_NAME.get(request.style.lower()) if request.style else None
    if entry and preset and said.startswith(preset.instruct):
        return entry.words + said.removeprefix(preset.instruct)
    return said or None


def _refusal(code: str) -> BadRecord:
    return refuse(Refusal(code))
