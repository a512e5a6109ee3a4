"""Where the recording of a request comes from: its body, an upload in parts, or a saved voice.

Knows what has to lie in the store before a job is accepted, and what has to hold while it is.
Refuses to know jobs and decoding.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from ingest.recording import Heard, Probes, Raw
from ingest.uploads import Uploads
from ingest.voices import Voices
from ingest.wish import Saved, Uploaded, Wish
from relay.objects.port import ObjectStore
from relay.sql.database import Transaction
from relay.sql.locks import hold_person
from schemas.events import Recording

FLAC = "audio/flac"


@dataclass(frozen=True, slots=True)
class Taken:
    """A recording that lies in the store.

    `adopted` are its bytes where they lay there already: they may just be swept. `voice` is whose
    it is, if it is a saved one: it may just be revoked. `language` is what was said of it then.
    """

    recording: Recording
    adopted: bytes | None = None
    voice: UUID | None = None
    language: str | None = None


class Sources:
    """Finds recordings."""

    def __init__(
        self, probes: Probes, objects: ObjectStore, uploads: Uploads, voices: Voices
    ) -> None:
        self._probes, self._objects = probes, objects
        self._uploads, self._voices = uploads, voices

    async def hear(self, source: bytes | Uploaded, raw: Raw | None, person: UUID) -> Heard:
        """What is in a recording that was sent; `Problem` where it is not taken."""
        if isinstance(source, Uploaded):
            source = await self._uploads.read(person, source.id)
        return await self._probes.examine(source, raw)

    async def take(self, wish: Wish, person: UUID) -> Taken:
        """The recording of `wish`, in the store from here on."""
        if isinstance(wish.source, Saved):
            voice = await self._voices.find(person, wish.source.id)
            return Taken(voice.recording, voice=voice.id, language=voice.language)
        heard = await self.hear(wish.source, wish.raw, person)
        recording = recording_of(heard, f"recording/{person}/{heard.sha256}")
        stored = await self._objects.put(recording.key, heard.flac, FLAC)
        return Taken(recording, None if stored else heard.flac)

    async def hold(self, tx: Transaction, taken: Taken, person: UUID) -> None:
        """See to it that it is there when `tx` commits; `Problem` where it was taken back."""
        if taken.voice is not None:
            await self._voices.hold(tx, person, taken.voice)
        if taken.adopted is not None:
            await hold_person(tx, person)  # from here on nobody sweeps what is theirs
            await self._objects.put(taken.recording.key, taken.adopted, FLAC)

    async def drop(self, taken: Taken) -> None:
        """Remove it again, for whoever must not have one; a saved voice is not theirs alone."""
        if taken.voice is None:
            await self._objects.delete(taken.recording.key)


def came_from(wish: Wish, recording: Recording) -> bool:
    """Whether `wish` may have had it: of a saved voice it is the voice's own object."""
    return not isinstance(wish.source, Saved) or recording.key.endswith(f"/{wish.source.id}")


def recording_of(heard: Heard, key: str) -> Recording:
    """`heard` as events tell of it, once it lies under `key`."""
    return Recording(
        key=key,
        sha256=heard.sha256,
        seconds=heard.seconds,
        sample_rate=heard.sample_rate,
        container=heard.container,
        codec=heard.codec,
        aigc=heard.aigc,
    )
