"""Turns a speech into the job's own labelled file.

Knows where the file lies and what the event says of it. Refuses to know how the speech came about,
addresses a client could fetch, and the log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from hashlib import sha256

from delivery.decide import plan
from delivery.encode import encode
from relay import fingerprint, flac
from relay.objects.port import ObjectStore
from relay.stage import Context
from schemas.events import Audio, Event, SpeechDelivered, SpeechSynthesized


class Delivery:
    """The stage behind `speech-synthesized`: one file a job, put if absent."""

    name = "delivery"
    consumes: tuple[type[Event], ...] = (SpeechSynthesized,)
    ends_jobs = True
    opens = True

    def __init__(self, store: ObjectStore, *, producer: str, kbps: int) -> None:
        self._store, self._producer, self._kbps = store, producer, kbps

    async def handle(self, event: Event, context: Context) -> Sequence[Event]:
        """Encode, label, put; a retry adopts the file that lies there."""
        assert isinstance(event, SpeechSynthesized)
        planned = plan(event.format, context.head.key, self._producer, self._kbps)
        speech = await self._store.get(event.speech.key)
        sound = await asyncio.to_thread(flac.read_flac, speech)
        data = await asyncio.to_thread(encode, sound.samples, sound.rate, planned)
        key = context.object_key("audio", event=str(context.head.id), format=event.format.value)
        if not await self._store.put(key, data, planned.encoding.content_type):
            data = await self._store.get(key)
        audio = Audio(
            key=key,
            sha256=sha256(data).hexdigest(),
            bytes=len(data),
            seconds=sound.seconds,
            sample_rate=sound.rate,
        )
        return [
            SpeechDelivered(
                audio=audio,
                format=event.format,
                spoken=event.spoken,
                label=planned.label,
                style=event.style,
                code_version=event.code_version,
                fingerprint=await asyncio.to_thread(fingerprint.take, sound.samples, sound.rate),
            )
        ]

    async def check(self) -> None:
        """Raise `Unavailable` while the store does not answer."""
        await self._store.check()
