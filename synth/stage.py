"""Speaks an approved prompt, or finds that it was spoken before.

Knows the recipe of a speech and what is kept beside its sound. Refuses to know engines, formats of
delivery and the log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from pydantic import ValidationError

from relay import flac
from relay.errors import BadRecord, Missing
from relay.objects.kinds import revocable
from relay.objects.port import ObjectStore
from relay.stage import Context
from relay.sweep import person_of
from schemas.events import Audio, Event, PromptApproved, SpeechSynthesized
from synth import styles
from synth.voice import Speech, SpeechRequest, Spoken, Voice, check

_SPOKEN = "spoken"
_MADE_FOR = "made_for"
"""Tag that names the event a speech was made for: a retry of it finds its own work, not a hit."""


class Synth:
    """The stage behind `prompt-approved`: one speech object a recipe, whoever asks and retries."""

    name = "synth"
    consumes: tuple[type[Event], ...] = (PromptApproved,)
    ends_jobs = True
    opens = True

    def __init__(self, voice: Voice, store: ObjectStore) -> None:
        self._voice, self._store = voice, store

    async def handle(self, event: Event, context: Context) -> Sequence[Event]:
        """Look the recipe up, else speak it and put it if absent; tell of what then lies there."""
        assert isinstance(event, PromptApproved)
        if revocable(event.recording.key):
            await self._store.stat(event.recording.key)  # else what was spoken before would do
        wish = styles.resolve(event.mode, event.instruct, event.style, event.speed)
        key = context.object_key("speech", **recipe(event, wish, self._voice.digest))
        data = await self._find(key)
        if data is None:
            made_for = str(context.head.id)
            speech = await self._voice.speak(await self._request(event, wish, context))
            spoken = await asyncio.to_thread(kept, speech, made_for)
            stored = await self._store.put(key, spoken, flac.CONTENT_TYPE)
            data = spoken if stored else await self._store.get(key)
        return [synthesized(event, key, data, str(context.head.id))]

    async def check(self) -> None:
        """Raise `Unavailable` while the voice cannot speak."""
        await self._voice.ready()

    async def _find(self, key: str) -> bytes | None:
        try:
            return await self._store.get(key)
        except Missing:
            return None

    async def _request(
        self, event: PromptApproved, wish: styles.Wish, context: Context
    ) -> SpeechRequest:
        recording = await self._store.get(event.recording.key)
        prompt = await asyncio.to_thread(flac.read_flac, recording)
        request = SpeechRequest(
            request_id=str(context.head.id),
            text=event.text,
            prompt=prompt.samples,
            prompt_rate=prompt.rate,
            prompt_id=event.recording.sha256,
            mode=wish.mode,
            transcript=event.transcript,
            language=event.heard_language,
            instruct=wish.instruct,
            style=wish.style,
            speed=wish.speed,
            seed=event.seed,
            accepted=context.head.time.timestamp(),
            features=self._features(event, context),
        )
        check(request)
        return request

    def _features(self, event: PromptApproved, context: Context) -> _Features | None:
        """Where what is learnt of the recording is kept: nowhere, if it is another person's."""
        if person_of(event.recording.key) != context.head.person:
            return None
        return _Features(self._store, context, event.recording.sha256)


@dataclass(frozen=True, slots=True)
class _Features:
    """`synth.voice.Features` in the object store, under the person's own prefix."""

    store: ObjectStore
    context: Context
    recording: str

    async def get(self, made_by: str) -> bytes | None:
        try:
            return await self.store.get(self._key(made_by))
        except Missing:
            return None

    async def put(self, made_by: str, data: bytes) -> None:
        await self.store.put(self._key(made_by), data, "application/octet-stream")

    def _key(self, made_by: str) -> str:
        return self.context.object_key("features", recording=self.recording, made_by=made_by)


def recipe(event: PromptApproved, wish: styles.Wish, digest: str) -> dict[str, Any]:
    """Everything that decides how the speech sounds."""
    return {
        "text": event.text,
        "recording": event.recording.sha256,
        "transcript": event.transcript,
        "language": event.heard_language,
        "mode": wish.mode,
        "instruct": wish.instruct,
        "style": wish.style,
        "speed": wish.speed,
        "seed": event.seed,
        "engine": digest,
    }


def kept(speech: Speech, made_for: str) -> bytes:
    """The object of a speech: its sound, tagged with who spoke and for which event."""
    tags = {_SPOKEN: speech.spoken.model_dump_json(), _MADE_FOR: made_for}
    return flac.write_flac(flac.Sound(speech.samples, speech.rate, tags))


def synthesized(event: PromptApproved, key: str, data: bytes, id_: str) -> SpeechSynthesized:
    """What the object `data` says of itself, as the event; so a retry says the same."""
    facts = flac.read_facts(data)
    return SpeechSynthesized(
        speech=Audio(
            key=key,
            sha256=sha256(data).hexdigest(),
            bytes=len(data),
            seconds=facts.seconds,
            sample_rate=facts.rate,
        ),
        spoken=_spoken(facts.tags),
        seed=event.seed,
        cached=facts.tags.get(_MADE_FOR) != id_,
        format=event.format,
        style=event.style,
        code_version=event.verdict.code_version,
    )


def _spoken(tags: Mapping[str, str]) -> Spoken:
    try:
        return Spoken.model_validate_json(tags.get(_SPOKEN, ""))
    except ValidationError as wrong:
        raise BadRecord("sound_unreadable", "A stored speech does not say who spoke.") from wrong
