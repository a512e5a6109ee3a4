"""The `Voice` port: a text and a recording in, speech out.

Knows what a request is, which requests no engine may be given, and what an engine promises.
Refuses to know engines, objects, events' topics and the log.

An engine promises:

- `speak` may be called many times at once; the engine admits each request when it can (batching is
  its own affair) and answers each as soon as it is done, in any order.
- Cancelling the coroutine cancels the request and frees all that it held.
- The speech is decided by the request without its `request_id` and `accepted`, by `spoken.digest`
  and by the device; on one device at one batch shape it is the same to the byte.
- A request it cannot speak raises `BadRecord` with one of the codes of `Refusal` and nothing else;
  its neighbours go on. A device that is lost or full raises `Unavailable`: the record waits in
  the log and is tried again. Whatever else it raises is a bug.
- It never blocks the event loop, opens nothing before `start`, and logs no text, no sound and no
  transcript.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from relay.errors import BadRecord
from schemas.events import Mode, Spoken

__all__ = [
    "MAX_PROMPT_SECONDS",
    "MAX_TOTAL_SECONDS",
    "MIN_PROMPT_SECONDS",
    "SPEEDS",
    "Features",
    "Mode",
    "Refusal",
    "Samples",
    "Speech",
    "SpeechRequest",
    "Spoken",
    "Voice",
    "check",
    "refuse",
]

Samples = NDArray[np.float32]
"""Mono samples, shape (n,), within [-1, 1]."""

MIN_PROMPT_SECONDS = 1.0
MAX_PROMPT_SECONDS = 30.0
MAX_TOTAL_SECONDS = 300.0
"""Prompt and one piece of output together; an engine that splits long text heeds it per piece."""
SPEEDS = (0.5, 2.0)


class Refusal(StrEnum):
    """Why a request cannot be spoken: the `code` of the `BadRecord`."""

    UNKNOWN_MODE = "unknown_mode"
    UNKNOWN_STYLE = "unknown_style"
    INSTRUCT_MISSING = "instruct_missing"
    SPEED_OUT_OF_RANGE = "speed_out_of_range"
    PROMPT_TOO_SHORT = "prompt_too_short"
    PROMPT_TOO_LONG = "prompt_too_long"
    PROMPT_UNUSABLE = "prompt_unusable"
    """Audio in which the engine finds nothing to go by: no speech tokens, no level."""
    TEXT_EMPTY = "text_empty"
    """Nothing left to say after normalisation."""
    TEXT_UNREADABLE = "text_unreadable"
    """A polyphone mark, a phone or a script that the engine has no sound for."""
    OUTPUT_TOO_LONG = "output_too_long"


_SENTENCES = {
    Refusal.UNKNOWN_MODE: "The mode is none of zero_shot, cross_lingual and instruct.",
    Refusal.UNKNOWN_STYLE: "There is no style of this name.",
    Refusal.INSTRUCT_MISSING: "Mode instruct needs an instruction or a style; none was given.",
    Refusal.SPEED_OUT_OF_RANGE: "The speed has to lie between 0.5 and 2.",
    Refusal.PROMPT_TOO_SHORT: "The recording is shorter than 1 second; please record 3 to 10.",
    Refusal.PROMPT_TOO_LONG: "The recording is longer than 30 seconds; please record 3 to 10.",
    Refusal.PROMPT_UNUSABLE: "The recording holds no voice that could be followed.",
    Refusal.TEXT_EMPTY: "The text holds nothing that can be spoken.",
    Refusal.TEXT_UNREADABLE: "The text holds something that this voice cannot read.",
    Refusal.OUTPUT_TOO_LONG: "The speech would be too long; please shorten the text.",
}


def refuse(code: Refusal, detail: str | None = None) -> BadRecord:
    """The error to raise for `code`; `detail` may replace the sentence that the user reads.

    It stands in the log in clear: no word of the user's text may be in it.
    """
    return BadRecord(code.value, detail or _SENTENCES[code])


class Features(Protocol):
    """Where an engine keeps what it learnt of the prompt, for this person's next request.

    `made_by` names the networks that made them; other networks' features are another object.
    """

    async def get(self, made_by: str) -> bytes | None:
        """What was put, or None."""

    async def put(self, made_by: str, data: bytes) -> None:
        """Keep it, if nothing is kept yet."""


@dataclass(frozen=True, slots=True, eq=False)
class SpeechRequest:
    """One text to be spoken in the voice of one recording.

    `request_id` is for logs and for cancelling; `accepted`, seconds since 1970, is for an engine
    that lets requests wait, to put those in order that come at about the same time: more would undo
    the turns that persons take. Neither changes the sound. `instruct` is the instruction in words
    ("请用广东话表达", "speak softly"), whether a user wrote it or a preset `style` stands for it;
    `style` names the preset for an engine that has a control of its own. An instruction with mode
    `zero_shot` or `cross_lingual` is to be heeded where the engine can, and else passed over.
    `speed` 2 is twice as fast, at the same pitch. `transcript` is what was heard in the prompt,
    `language` the BCP 47 language of it; both may be empty where nobody knows.
    `prompt_id` is a hash of the recording, fit to cache features of the prompt by; `features` is
    where they may be kept beyond the process, and never changes the sound.
    """

    request_id: str
    text: str
    prompt: Samples
    prompt_rate: int
    prompt_id: str
    mode: Mode = Mode.ZERO_SHOT
    transcript: str = ""
    language: str = ""
    instruct: str | None = None
    style: str | None = None
    speed: float = 1.0
    seed: int = 0
    accepted: float = 0.0
    features: Features | None = None

    @property
    def prompt_seconds(self) -> float:
        """Length of the prompt."""
        return len(self.prompt) / self.prompt_rate

    def saying(self, text: str) -> SpeechRequest:
        """The same request with another text."""
        return replace(self, text=text)


@dataclass(frozen=True, slots=True, eq=False)
class Speech:
    """What was spoken: mono float32 samples at `rate` Hz, and who spoke."""

    samples: Samples
    rate: int
    spoken: Spoken

    @property
    def seconds(self) -> float:
        """Length of the speech."""
        return len(self.samples) / self.rate


class Voice(Protocol):
    """An engine that speaks. See the module for what it promises."""

    @property
    def digest(self) -> str:
        """Hash over everything that decides the sound: weights, code version, precision.

        Known before `start`; part of the key under which speech is kept and found again.
        """

    async def start(self) -> None:
        """Load the weights. `Unavailable` where weights or device are not to be had."""

    async def ready(self) -> None:
        """Return at once if requests are served now; else raise `Unavailable` with the reason."""

    async def speak(self, request: SpeechRequest) -> Speech:
        """Speak one request; `BadRecord` where nobody could, `Unavailable` where we cannot now,
        `Lost` where this process cannot any more."""

    async def aclose(self) -> None:
        """Cancel what is running and give the device back."""


def check(request: SpeechRequest) -> None:
    """Raise the `BadRecord` that every engine owes this request, if it owes one.

    Covers what can be told from the request alone; the stage calls it before any engine.
    """
    if request.mode not in tuple(Mode):
        raise refuse(Refusal.UNKNOWN_MODE)
    if request.mode == Mode.INSTRUCT and not (request.instruct or "").strip():
        raise refuse(Refusal.INSTRUCT_MISSING)
    if not SPEEDS[0] <= request.speed <= SPEEDS[1]:
        raise refuse(Refusal.SPEED_OUT_OF_RANGE)
    if request.prompt_seconds < MIN_PROMPT_SECONDS:
        raise refuse(Refusal.PROMPT_TOO_SHORT)
    if request.prompt_seconds > MAX_PROMPT_SECONDS:
        raise refuse(Refusal.PROMPT_TOO_LONG)
    if not any(character.isalnum() for character in request.text):
        raise refuse(Refusal.TEXT_EMPTY)
