"""What comes down for a job of this edge: its events as they lie there, and the audio it ends with.

Knows whose events are ours (`ce_source`), and that an erased person's audio is not kept again.
Objects that no door of an edge serves (what was heard, speech before it was labelled) stay there.
Refuses to know how a record is carried.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from uuid import UUID

from relay.bridge.cargo import copy
from relay.codec import decode, head_of
from relay.errors import BadRecord
from relay.letters import REDRIVE
from relay.log.port import Message, Record
from relay.objects.port import ObjectStore
from relay.sql.keys import SqlKeyStore
from schemas.events import Audio, PromptUploaded, SpeechDelivered
from schemas.topics import TOPICS as ALL

TOPICS = tuple(topic.name for topic in ALL if topic.event is not PromptUploaded)
"""Every step is told, so that a job looks here as it does there."""

log = logging.getLogger(__name__)


class Down:
    """Gets the cargo of one record to the edge; a `relay.bridge.ferry.Carry`."""

    def __init__(self, site: str, keys: SqlKeyStore, here: ObjectStore, there: ObjectStore) -> None:
        self._site, self._keys = site, keys
        self._here, self._there = here, there

    async def __call__(self, record: Record) -> Sequence[Message]:
        """The event, its audio being here; nothing where it is another site's."""
        if any(name == REDRIVE for name, _ in record.headers):
            return ()  # for one group of the cluster; the record itself came before
        try:
            head = head_of(record)
        except BadRecord:
            return ()  # it says of no site that it is theirs
        if head.source != self._site:
            return ()
        try:
            event = decode(record, head, None)
            if isinstance(event, SpeechDelivered):
                await self._fetch(event.audio, head.person)
        except BadRecord as why:  # its person still learns how the job ended
            log.warning("bridge: %s of job %s comes alone: %s", record.topic, record.key, why.code)
        return (Message(record.topic, record.key, record.value, record.headers),)

    async def _fetch(self, audio: Audio, person: UUID) -> None:
        if await self._keys.erased(person):
            return
        await copy(audio.key, audio.sha256, self._there, self._here)
        if await self._keys.erased(person):  # meanwhile, and before their objects were deleted
            await self._here.delete(audio.key)
