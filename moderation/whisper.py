"""The ear: openai-whisper behind one call, hearing in batches what arrives together.

Knows how much of the encoder's window a clip needs and how openai-whisper decodes a batch. Refuses
to judge what was heard, and to sample: the same clips on the same device are heard alike.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import whisper
from whisper.decoding import DecodingOptions, DecodingResult, DecodingTask
from whisper.tokenizer import LANGUAGES, get_tokenizer

from moderation import weights
from moderation.batches import Batches
from moderation.hearing import LONGEST_SECONDS, SAMPLE_RATE, Hearing, Samples
from moderation.words import simplified
from relay.errors import BadRecord, Lost, Misconfigured, Unavailable

_METHOD = "1"
"""Raise it when the same weights would hear differently: it is part of the ear's digest."""

_POSITIONS = 50
"""Encoder positions in a second."""
_STEP_SECONDS = 4
_TAIL_SECONDS = 0.5
"""Silence after the last word. With less of it the model does not find the end, and loops."""
_TOKENS_PER_SECOND = 12
"""More than anybody speaks; ends a loop early instead of holding up the batch."""
_FEWEST_TOKENS = 16

_LIKE_WHISPER = {"cmn": "zh", "yue": "zh", "nb": "no", "jv": "jw", "fil": "tl", "iw": "he"}
_TRADITIONAL = frozenset({"hant", "tw", "hk", "mo"})
"""Subtags of those who write traditional characters; what others say is spelled in simplified."""


@dataclass(frozen=True, slots=True)
class _Clip:
    audio: Samples
    language: str | None
    traditional: bool

    @property
    def context(self) -> int:
        return context_for(len(self.audio) / SAMPLE_RATE)


class Whisper:
    """An `Ear`. Holds the model and its one thread; `close` ends the thread.

    Clips share a batch when they need equally much of the encoder's window, so what is heard in a
    clip does not hang on its neighbours' lengths.
    """

    def __init__(self, loaded: weights.Loaded, *, batch: int = 16) -> None:
        if not loaded.model.is_multilingual:
            raise Misconfigured(
                f"Whisper {loaded.name} hears English only; take a multilingual one"
            )
        self._model = loaded.model
        self._name = loaded.name
        self._sha256 = loaded.sha256
        get_tokenizer(True, num_languages=loaded.model.num_languages)  # reads its file once
        self._known = frozenset(list(LANGUAGES)[: loaded.model.num_languages])
        self._batches = Batches(self._hear_all, lambda clip: clip.context, batch)

    @property
    def model(self) -> str:
        return f"whisper-{self._name}"

    @property
    def digest(self) -> str:
        return f"{self._sha256}/{_METHOD}"

    async def hear(self, audio: Samples, language: str | None) -> Hearing:
        longest = int(LONGEST_SECONDS * SAMPLE_RATE)
        clip = _Clip(audio[:longest], self.spoken_as(language), _is_traditional(language))
        try:
            return await self._batches.ask(clip)
        except torch.OutOfMemoryError as full:
            raise Unavailable("the hearing device is full") from full
        except _DEVICE_FAULTS as fault:
            raise Lost(f"the hearing device failed: {type(fault).__name__}") from fault

    async def close(self) -> None:
        """End the thread after the batch in hand."""
        await self._batches.close()

    def spoken_as(self, tag: str | None) -> str | None:
        """Whisper's code for a BCP 47 tag; None (detect it) where the model knows no such one."""
        code = (tag or "").lower().replace("_", "-").split("-")[0]
        if code not in self._known:
            code = _LIKE_WHISPER.get(code, "")
        return code if code in self._known else None

    def _hear_all(self, clips: Sequence[_Clip]) -> list[Hearing]:
        context = max(clip.context for clip in clips)
        options = DecodingOptions(
            without_timestamps=True,
            sample_len=_most_tokens(context, self._model.dims.n_text_ctx),
            fp16=self._model.device.type == "cuda",
        )
        with _window(self._model, context):
            task = _Listening(self._model, options, [clip.language for clip in clips])
            results = task.run(self._features(clips, context))
        return [
            _hearing(clip, result, chances)
            for clip, result, chances in zip(clips, results, task.chances, strict=True)
        ]

    def _features(self, clips: Sequence[_Clip], context: int) -> torch.Tensor:
        """Log-mel features, shape (clips, mels, 2 * context), each clip normalised by itself."""
        length = context * SAMPLE_RATE // _POSITIONS
        mels = [
            whisper.log_mel_spectrogram(
                clip.audio,
                n_mels=self._model.dims.n_mels,
                padding=length - len(clip.audio),
                device=self._model.device,
            )
            for clip in clips
        ]
        return torch.stack(mels)


def open_whisper(
    name: str, folder: Path | None, *, device: str, threads: int, batch: int
) -> Whisper:
    """The ear called `name`; takes seconds. Errors: `weights.load`'s, and `Misconfigured` where
    the device is not there. `threads` is for the whole process."""
    if device == "cuda" and not torch.cuda.is_available():
        raise Misconfigured("VOXRELAY_MODERATION_DEVICE is cuda, but no such device is here")
    torch.set_num_threads(threads)
    return Whisper(weights.load(name, folder=folder, device=device), batch=batch)


class _Listening(DecodingTask):  # type: ignore[misc]
    """openai-whisper's decoding of a batch in which each clip has a language of its own."""

    def __init__(
        self, model: whisper.Whisper, options: DecodingOptions, given: Sequence[str | None]
    ) -> None:
        super().__init__(model, options)
        self._given = given
        self.chances: list[dict[str, float]] = []
        """For each clip, how likely each language is."""

    def _detect_language(
        self, audio_features: torch.Tensor, tokens: torch.Tensor
    ) -> tuple[list[str], list[dict[str, float]]]:
        _, self.chances = self.model.detect_language(audio_features, self.tokenizer)
        languages = [
            given or max(chances, key=lambda code: chances[code])
            for given, chances in zip(self._given, self.chances, strict=True)
        ]
        for row, code in enumerate(languages):
            tokens[row, self.sot_index + 1] = self.tokenizer.to_language_token(code)
        return languages, self.chances


def context_for(seconds: float) -> int:
    """Encoder positions for a clip: its length and a tail of silence, in whole steps."""
    steps = math.ceil((seconds + _TAIL_SECONDS) / _STEP_SECONDS)
    return min(steps * _STEP_SECONDS, int(LONGEST_SECONDS)) * _POSITIONS


@contextmanager
def _window(model: whisper.Whisper, context: int) -> Iterator[None]:
    """The model with an encoder window of `context` positions; only its own thread may do this."""
    whole: torch.Tensor = model.encoder.positional_embedding
    most: int = model.dims.n_audio_ctx
    model.encoder.positional_embedding = whole[:context]
    model.dims.n_audio_ctx = context
    try:
        yield
    finally:
        model.encoder.positional_embedding = whole
        model.dims.n_audio_ctx = most


def _most_tokens(context: int, text_context: int) -> int:
    asked = _FEWEST_TOKENS + _TOKENS_PER_SECOND * context // _POSITIONS
    return min(asked, text_context // 2)


def _is_traditional(tag: str | None) -> bool:
    return bool(_TRADITIONAL & set((tag or "").lower().replace("_", "-").split("-")[1:]))


def _hearing(clip: _Clip, result: DecodingResult, chances: dict[str, Any]) -> Hearing:
    # Whisper spells Mandarin in either script, from one clip to the next.
    simplify = result.language == "zh" and not clip.traditional
    return Hearing(
        text=simplified(result.text) if simplify else result.text,
        language=result.language,
        language_probability=_number(chances[result.language]),
        no_speech_prob=_number(result.no_speech_prob),
        avg_logprob=_number(result.avg_logprob),
        compression_ratio=_number(result.compression_ratio),
        seconds=round(len(clip.audio) / SAMPLE_RATE, 3),
    )


def _number(value: float) -> float:
    """`BadRecord` where it is none: the arithmetic overflowed, and what was heard is made up."""
    found = round(float(value), 6)
    if not math.isfinite(found):
        raise BadRecord(
            "recording_unheard", "We could not hear your recording. Please record again."
        )
    return found


_DEVICE_FAULTS: tuple[type[Exception], ...] = (
    (torch.AcceleratorError,) if hasattr(torch, "AcceleratorError") else ()
)
