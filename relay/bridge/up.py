"""What goes up for a job: its person's key, its recording, then the event as it lies here.

Knows the order, and how a job ends here that must not go up: its person was erased, its recording
is gone, its record is broken. Refuses to know how a record is carried, and to overwrite anything.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from uuid import UUID

from relay.answer import code_version
from relay.bridge.cargo import copy
from relay.claims import claim, letter_id
from relay.codec import decode, encode, head_of
from relay.errors import BadRecord, PersonErased
from relay.handover import Recipient
from relay.letters import bury, meant_for, untouched
from relay.log.port import Message, Record
from relay.objects.port import ObjectStore
from relay.outbox import enqueue
from relay.sql.database import Database, Transaction
from relay.sql.keys import SqlKeyStore
from schemas.envelope import Head
from schemas.events import JobFailed, PromptUploaded
from schemas.topics import BRIDGE, topic_of

TOPICS = (topic_of(PromptUploaded),)

_REMEMBERED = 50_000
_SEALED = "application/octet-stream"

log = logging.getLogger(__name__)


class Up:
    """Gets the cargo of one record to the cluster; a `relay.bridge.ferry.Carry`."""

    def __init__(
        self,
        database: Database,
        keys: SqlKeyStore,
        here: ObjectStore,
        there: ObjectStore,
        cluster: Recipient,
    ) -> None:
        self._database, self._keys = database, keys
        self._here, self._there, self._cluster = here, there, cluster
        self._handed: set[UUID] = set()

    async def __call__(self, record: Record) -> Sequence[Message]:
        """The event, its key and recording being there; nothing where its job has ended here."""
        if not meant_for(record, BRIDGE):
            return ()
        try:
            head = head_of(record)
        except BadRecord as why:
            await self._end(record, bury(record, BRIDGE, why, code_version()), why)
            return ()
        try:
            await self._send(record, head)
        except PersonErased:
            await self._fail(record, head, BadRecord("erased", "This person's data was erased."))
            return ()
        except BadRecord as why:
            await self._fail(record, head, why)
            return ()
        return (Message(record.topic, record.key, record.value, untouched(record.headers)),)

    async def _send(self, record: Record, head: Head) -> None:
        event = decode(record, head, None)
        if not isinstance(event, PromptUploaded):
            raise BadRecord("event_unknown", "This was not accepted here.")
        if await self._keys.erased(head.person):
            raise PersonErased("erased here")
        await self._hand_over(head.person)
        await copy(event.recording.key, event.recording.sha256, self._here, self._there)

    async def _hand_over(self, person: UUID) -> None:
        """The key first: the cluster cannot read the event without it."""
        if person in self._handed:
            return
        envelope = self._cluster.seal(person, await self._keys.key(person))
        await self._there.put(self._cluster.object_key(person), envelope, _SEALED)
        if len(self._handed) >= _REMEMBERED:
            self._handed.clear()
        self._handed.add(person)

    async def _fail(self, record: Record, head: Head, why: BadRecord) -> None:
        event = JobFailed(stage=BRIDGE, code=why.code, message=why.message)
        child = head.child(topic_of(event), 0, event.TYPE)
        await self._end(record, encode(event, child, None), why)

    async def _end(self, record: Record, message: Message, why: BadRecord) -> None:
        """Put what ends the record's job here into the outbox, however often it is asked."""

        async def end(tx: Transaction) -> None:
            if await claim(tx, letter_id(record), BRIDGE):
                await enqueue(tx, [message])

        await self._database.run(end)
        log.warning("bridge: job %s is not sent: %s", record.key, why.code)
