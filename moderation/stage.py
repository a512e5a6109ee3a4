"""Hears and judges an uploaded prompt; turns a person's review into approved or rejected.

Knows the order of things: the sound first, then the ear, then the policy. Refuses to know how a
verdict comes about, models and the log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from moderation import audio
from moderation.decide import Approve, Hold, Reject, decide, decide_review, must_listen
from moderation.decide import Verdict as Judgement
from moderation.hearing import Ear, Heard, Samples, Sound
from moderation.policy import Policy
from relay.answer import code_version
from relay.errors import Missing
from relay.objects.port import ObjectStore
from relay.stage import Context
from schemas.events import (
    Event,
    Prompt,
    PromptApproved,
    PromptHeld,
    PromptRejected,
    PromptReviewed,
    PromptUploaded,
    Verdict,
)

_JSON = "application/json"


class Moderation:
    """The stage behind `prompt-uploaded` and `prompt-reviewed`."""

    name = "moderation"
    consumes: tuple[type[Event], ...] = (PromptUploaded, PromptReviewed)
    ends_jobs = True
    opens = True

    def __init__(self, ear: Ear, policy: Policy, store: ObjectStore) -> None:
        self._ear, self._policy, self._store = ear, policy, store
        self._code = code_version()

    async def handle(self, event: Event, context: Context) -> Sequence[Event]:
        """One event in, one out: approved, rejected or held."""
        if isinstance(event, PromptReviewed):
            return [reviewed(event)]
        assert isinstance(event, PromptUploaded)
        heard, key = await self._listen(event, context)
        judgement = await asyncio.to_thread(decide, event, heard, self._policy)
        return [judged(event, heard, judgement, self._verdict(judgement, key))]

    async def check(self) -> None:
        """Raise `Unavailable` while the store does not answer; the ear is in this process."""
        await self._store.check()

    async def _listen(self, event: PromptUploaded, context: Context) -> tuple[Heard, str | None]:
        """What is known of the recording, and the key it is kept under if it was listened to."""
        recipe = {"recording": event.recording.sha256, "language": event.language}
        key = context.object_key("hearing", **recipe, ear=self._ear.digest)
        kept = await self._find(key)
        if kept is None:
            samples, sound = await asyncio.to_thread(
                _read, await self._store.get(event.recording.key)
            )
            if not must_listen(sound, self._policy):
                return Heard(sound=sound), None
            hearing = await self._ear.hear(samples, event.language)
            kept = Heard(sound=sound, hearing=hearing).model_dump_json().encode()
            if not await self._store.put(key, kept, _JSON):
                kept = await self._store.get(key)
        return Heard.model_validate_json(kept), key

    async def _find(self, key: str) -> bytes | None:
        try:
            return await self._store.get(key)
        except Missing:
            return None

    def _verdict(self, judgement: Judgement, key: str | None) -> Verdict:
        return Verdict(
            policy=self._policy.name,
            policy_digest=judgement.policy_digest,
            code_version=self._code,
            hearing_model=self._ear.model,
            hearing_digest=self._ear.digest,
            hearing_key=key,
            reasons=judgement.reasons,
        )


def judged(event: PromptUploaded, heard: Heard, judgement: Judgement, verdict: Verdict) -> Event:
    """The event that says `judgement`."""
    hearing = heard.hearing
    if isinstance(judgement, Reject):
        said, language = (hearing.text, hearing.language) if hearing else (None, None)
        return _rejected(event, said, language, verdict)
    assert hearing is not None, "a sound that nobody listens to is rejected"
    kind = PromptHeld if isinstance(judgement, Hold) else PromptApproved
    return kind(
        **_prompt(event),
        transcript=hearing.text,
        heard_language=hearing.language,
        verdict=verdict,
    )


def reviewed(event: PromptReviewed) -> Event:
    """What a person decided, as the event that acts on it; from the review alone."""
    held = event.verdict
    judgement = decide_review(event.approved, held.reasons, held.policy_digest)
    verdict = held.model_copy(update={"reasons": judgement.reasons})
    if isinstance(judgement, Approve):
        said = {"transcript": event.transcript, "heard_language": event.heard_language}
        return PromptApproved(**_prompt(event), **said, verdict=verdict)
    return _rejected(event, event.transcript, event.heard_language, verdict)


def _rejected(
    event: Prompt, transcript: str | None, heard_language: str | None, verdict: Verdict
) -> PromptRejected:
    return PromptRejected(
        text=event.text,
        transcript=transcript,
        heard_language=heard_language,
        recording=event.recording,
        verdict=verdict,
        style=event.style,
        code_version=verdict.code_version,
    )


def _prompt(event: Prompt) -> dict[str, Any]:
    """The fields that every event of a prompt carries on."""
    return {name: getattr(event, name) for name in Prompt.model_fields}


def _read(data: bytes) -> tuple[Samples, Sound]:
    samples = audio.read(data)
    return samples, audio.measure(samples)
