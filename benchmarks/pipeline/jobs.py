"""The jobs that are sent through the chain, and stages that only pass them on.

Everything around the models is real: events, envelope, sealing, ids. Refuses to know logs.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from uuid import UUID, uuid5

from relay.codec import encode
from relay.keys import KEY_BYTES, PersonKey
from relay.log.port import Message
from relay.stage import Context
from schemas.envelope import Head
from schemas.events import (
    Audio,
    AudioFormat,
    Event,
    Label,
    PromptApproved,
    PromptUploaded,
    Recording,
    SpeechDelivered,
    SpeechSynthesized,
    Spoken,
    Verdict,
)

_SPACE = UUID("3d5f0d44-50e6-4d7c-a3dc-0d8a3a4fbb7e")
_PERSONS = 1000
_TEXT = "今天天气真好，我们下午去公园散步，顺便给妈妈买一束花，晚上一起吃饭，好不好？"
_DIGEST = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
_VERDICT = Verdict(
    policy="first/1",
    policy_digest=_DIGEST,
    code_version="0.1.0",
    hearing_model="whisper-base",
    hearing_digest=_DIGEST,
    hearing_key=f"hearing/{_SPACE}/{_DIGEST}",
)
_SPOKEN = Spoken(
    engine="none", voice="none", version="1", digest=_DIGEST, device="cpu", cloned=False
)


class BenchKeys:
    """A key store whose cache always holds the person's key."""

    def __init__(self) -> None:
        self._keys = {_person(n): _key(n) for n in range(_PERSONS)}

    async def key(self, person: UUID) -> PersonKey:
        return self._keys[person]

    def of(self, person: UUID) -> PersonKey:
        """The same, for whoever makes events."""
        return self._keys[person]


def job(n: int) -> Message:
    """The first event of the `n`-th job, as the door writes it."""
    head = head_of_job(n)
    return encode(prompt_of(head.person), head, _key(n % _PERSONS))


def head_of_job(n: int) -> Head:
    """Who the first event of the `n`-th job is."""
    return Head(
        id=uuid5(_SPACE, f"event/{n}"),
        type=PromptUploaded.TYPE,
        source="voxrelay://bench",
        time=datetime.now(UTC),
        person=_person(n % _PERSONS),
        key=str(uuid5(_SPACE, f"job/{n}")),
    )


@cache
def prompt_of(person: UUID) -> PromptUploaded:
    """What a person asks for, each time."""
    return PromptUploaded(
        text=_TEXT,
        recording=Recording(
            key=f"recording/{person}/{_DIGEST}",
            sha256=_DIGEST,
            seconds=6.4,
            sample_rate=16000,
            container="mp3",
            codec="mp3",
        ),
        door="jobs",
        address="203.0.113.7",
    )


@cache
def _person(n: int) -> UUID:
    return uuid5(_SPACE, f"person/{n}")


@cache
def _key(n: int) -> PersonKey:
    return PersonKey(n.to_bytes(2, "big") * (KEY_BYTES // 2))


class _PassOn:
    """A stage whose model takes no time."""

    ends_jobs = True
    opens = True

    async def check(self) -> None:
        """Always able."""


class Moderation(_PassOn):
    """Approves everything."""

    name = "moderation"
    consumes: tuple[type[Event], ...] = (PromptUploaded,)

    async def handle(self, event: Event, context: Context) -> Sequence[Event]:
        assert isinstance(event, PromptUploaded)
        return (
            PromptApproved(
                text=event.text,
                recording=event.recording,
                transcript=_TEXT,
                heard_language="zh",
                verdict=_VERDICT,
            ),
        )


class Synth(_PassOn):
    """Speaks nothing, at once; the speech's key is computed as the real stage does."""

    name = "synth"
    consumes: tuple[type[Event], ...] = (PromptApproved,)

    async def handle(self, event: Event, context: Context) -> Sequence[Event]:
        assert isinstance(event, PromptApproved)
        key = context.object_key("speech", text=event.text, seed=event.seed, voice=_DIGEST)
        speech = Audio(key=key, sha256=_DIGEST, bytes=200_000, seconds=9.1, sample_rate=24000)
        return (
            SpeechSynthesized(
                speech=speech, spoken=_SPOKEN, seed=0, cached=False, format=AudioFormat.MP3
            ),
        )


class Delivery(_PassOn):
    """Delivers the key it was given."""

    name = "delivery"
    consumes: tuple[type[Event], ...] = (SpeechSynthesized,)

    async def handle(self, event: Event, context: Context) -> Sequence[Event]:
        assert isinstance(event, SpeechSynthesized)
        label = Label(aigc="1", producer="voxrelay", produce_id=str(context.head.id))
        return (
            SpeechDelivered(
                audio=event.speech, format=event.format, spoken=event.spoken, label=label
            ),
        )


STAGES = (Moderation, Synth, Delivery)
