"""Voices that persons have saved: whose they are, by what consent, and who else may use them.

Knows rows and the one object of each. Revoking commits that it is over, and a due row that deletes
the object, whoever dies; then it deletes it: what is gone is what keeps stages from speaking in it.
Refuses to know HTTP, decoding, and jobs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid5

from sqlalchemy import Row, func, insert, or_, select, update

from ingest.idempotency import claim, claimed, digest_of
from ingest.problems import Problem
from ingest.quota import Quota
from relay.codec import encode
from relay.errors import PersonErased
from relay.keys import PersonKey
from relay.objects.kinds import VOICE
from relay.objects.port import ObjectStore
from relay.outbox import enqueue
from relay.sealing import seal, unseal
from relay.sql.database import Database, Transaction
from relay.sql.dues import Due, schedule
from relay.sql.keys import SqlKeyStore
from relay.sql.locks import hold_person
from relay.sql.schema import voice_shares, voices
from relay.timer import Done
from schemas.envelope import Head
from schemas.events import Event, Recording, VoiceRevoked, VoiceSaved, Whose
from schemas.topics import topic_of

MOST = 50
"""Voices of one person that are not revoked."""
REVOKE = "voice-revoked"
"""The kind of due row that deletes the object."""
_BUCKET = "voices"
_NAME, _STATEMENT = "name", "statement"


class VoiceScope(StrEnum):
    """What somebody may do with a voice."""

    SPEAK = "speak"
    LISTEN = "listen"
    """Hear the recording itself."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A voice to be saved; `id` was given out before, and names the object of its recording."""

    id: UUID
    name: str
    statement: str
    of: Whose
    language: str | None
    recording: Recording

    def content(self) -> dict[str, Any]:
        """All that makes it the same as another."""
        told = {"voice": self.name, "statement": self.statement, "of": self.of}
        return {**told, "language": self.language, "recording": self.recording.sha256}


@dataclass(frozen=True, slots=True)
class Voice:
    """A voice as one may see it who has it, or with whom it is shared."""

    id: UUID
    owner: UUID
    mine: bool
    scopes: frozenset[VoiceScope]
    of: Whose
    language: str | None
    recording: Recording
    created_at: datetime
    revoked_at: datetime | None
    sealed: Mapping[str, str] = field(repr=False)


class Voices:
    """The voices of one site. One that nobody shared is none: `Problem` (`voice_unknown`)."""

    def __init__(
        self, site: str, database: Database, objects: ObjectStore, keys: SqlKeyStore, quota: Quota
    ) -> None:
        self._site, self._database, self._objects = site, database, objects
        self._keys, self._quota = keys, quota

    async def look(self, person: UUID, key: str | None) -> None:
        """Refuse early who will be refused: they cost no decoding. Not who asks again by `key`."""
        async with self._database.reading() as tx:
            if key is not None and await claimed(tx, person, key) is not None:
                return
            await self._quota.look(tx, person, _BUCKET)
            await _room(tx, person)

    async def save(self, person: UUID, wanted: Wanted, key: str | None) -> Voice:
        """The voice that `wanted` became, or had become under the same idempotency `key`.

        Its recording lies in the store already; it goes again where the voice is not taken.
        """
        try:
            id_ = await self._database.run(lambda tx: self._save(tx, person, wanted, key))
        except PersonErased:
            await self._objects.delete(wanted.recording.key)
            raise Problem("person_erased") from None
        except Problem:
            await self._objects.delete(wanted.recording.key)
            raise
        if id_ != wanted.id:
            await self._objects.delete(wanted.recording.key)
        return await self.find(person, id_)

    async def all(self, person: UUID) -> Sequence[Voice]:
        """Those that are not revoked, own and shared, the newest first."""
        async with self._database.reading() as tx:
            shared = await _shared(tx, person)
            query = select(voices).where(or_(voices.c.person == person, voices.c.id.in_(shared)))
            query = query.where(voices.c.revoked_at.is_(None))
            rows = await tx.execute(query.order_by(voices.c.created_at.desc(), voices.c.id))
            return [_voice(row, person, shared) for row in rows]

    async def find(self, person: UUID, id_: UUID) -> Voice:
        """One of them, also if it is revoked."""
        async with self._database.reading() as tx:
            return await found(tx, person, id_)

    async def hold(self, tx: Transaction, person: UUID, id_: UUID) -> None:
        """Nobody revokes it before `tx` ends; `Problem` where they have, or it is not to speak."""
        await tx.execute(select(voices.c.id).where(voices.c.id == id_).with_for_update(read=True))
        voice = await found(tx, person, id_)
        if voice.revoked_at is not None:
            raise Problem("voice_revoked")
        if VoiceScope.SPEAK not in voice.scopes:
            raise Problem("voice_scope_missing", scope=VoiceScope.SPEAK.value)

    async def told(self, voice: Voice) -> tuple[str, str]:
        """Its name, and the words of its consent."""
        try:
            key = await self._keys.key(voice.owner)
        except PersonErased:
            raise Problem("voice_unknown") from None
        name, statement = (
            unseal(key, voice.id, each, voice.sealed[each]) for each in (_NAME, _STATEMENT)
        )
        return name, statement

    async def rename(self, person: UUID, id_: UUID, name: str) -> None:
        """Call it something else; only its owner may."""

        async def work(tx: Transaction) -> None:
            row = await owned(tx, person, id_)
            key = await self._keys.create(tx, person)
            sealed = {**row.sealed, _NAME: seal(key, id_, _NAME, name)}
            await tx.execute(update(voices).where(voices.c.id == id_).values(sealed=sealed))

        await self._database.run(work)

    async def revoke(self, person: UUID, id_: UUID) -> None:
        """Nothing more is spoken in it once this returns; a second time changes nothing."""
        await self._database.run(lambda tx: self._revoke(tx, person, id_))
        await self._objects.delete(key_of(person, id_))

    async def _save(self, tx: Transaction, person: UUID, wanted: Wanted, key: str | None) -> UUID:
        mine = await self._keys.create(tx, person)
        if key is not None:
            digest = digest_of(wanted.content(), mine)
            if earlier := await claim(tx, person, key, digest, [wanted.id]):
                return earlier[0]
        await self._quota.take(tx, person, _BUCKET)
        await hold_person(tx, person)  # two at once would each find room for one
        await _room(tx, person)
        event = VoiceSaved(
            voice=wanted.id,
            name=wanted.name,
            statement=wanted.statement,
            of=wanted.of,
            language=wanted.language,
            recording=wanted.recording,
        )
        said = {_NAME: wanted.name, _STATEMENT: wanted.statement}
        row = {
            "id": wanted.id,
            "person": person,
            "sealed": {name: seal(mine, wanted.id, name, text) for name, text in said.items()},
            "of": wanted.of.value,
            "language": wanted.language,
            "recording": wanted.recording.model_dump(mode="json"),
            "created_at": tx.now,
        }
        await tx.execute(insert(voices).values(row))
        await self._tell(tx, person, wanted.id, event, mine)
        return wanted.id

    async def _revoke(self, tx: Transaction, person: UUID, id_: UUID) -> None:
        row = await owned(tx, person, id_, revoked=True)
        if row.revoked_at is not None:
            return
        over = update(voices).where(voices.c.id == id_).values(revoked_at=tx.now)
        await tx.execute(over)
        payload = {"key": key_of(person, id_)}
        await schedule(tx, Due(uuid5(id_, REVOKE), REVOKE, tx.now, payload=payload))
        await self._tell(tx, person, id_, VoiceRevoked(voice=id_), None)

    async def _tell(
        self, tx: Transaction, person: UUID, id_: UUID, event: Event, key: PersonKey | None
    ) -> None:
        event_id = uuid5(id_, f"{topic_of(event)}/0")
        head = Head(event_id, event.TYPE, self._site, tx.now, person, str(person))
        await enqueue(tx, [encode(event, head, key)])


@dataclass(frozen=True, slots=True)
class Revoker:
    """The `Timer`'s handler of the kind `REVOKE`."""

    objects: ObjectStore

    async def __call__(self, row: Due) -> Done:
        """Delete what a gateway may have died before deleting."""
        await self.objects.delete(row.payload["key"])
        return Done()


def key_of(person: UUID, id_: UUID) -> str:
    """Of the object of a voice."""
    return f"{VOICE}/{person}/{id_}"


async def found(tx: Transaction, person: UUID, id_: UUID) -> Voice:
    """The voice as `person` may see it; `Problem`: `voice_unknown`, `voice_unshared`."""
    row = (await tx.execute(select(voices).where(voices.c.id == id_))).one_or_none()
    shared = await _shared(tx, person)
    if row is None or (row.person != person and id_ not in shared):
        raise Problem("voice_unshared" if await _was_shared(tx, person, id_) else "voice_unknown")
    return _voice(row, person, shared)


async def owned(tx: Transaction, person: UUID, id_: UUID, *, revoked: bool = False) -> Row[Any]:
    """The row of the person's own voice, locked; `Problem` where they have none, or not any more.

    `revoked` ones will do where that is said.
    """
    mine = (voices.c.id == id_, voices.c.person == person)
    row = (await tx.execute(select(voices).where(*mine).with_for_update())).one_or_none()
    if row is None:
        await found(tx, person, id_)  # of one that is shared with them they know that it is there
        raise Problem("voice_of_another")
    if row.revoked_at is not None and not revoked:
        raise Problem("voice_revoked")
    return row


async def _shared(tx: Transaction, person: UUID) -> Mapping[UUID, frozenset[VoiceScope]]:
    """What others let `person` do, by voice."""
    living = or_(voice_shares.c.expires_at.is_(None), voice_shares.c.expires_at > tx.now)
    query = select(voice_shares).where(voice_shares.c.person == person, living)
    shared: dict[UUID, frozenset[VoiceScope]] = {}
    for row in await tx.execute(query):
        scopes = frozenset(map(VoiceScope, row.scopes))
        shared[row.voice] = shared.get(row.voice, frozenset()) | scopes
    return shared


async def _was_shared(tx: Transaction, person: UUID, id_: UUID) -> bool:
    """Whether `person` knows of it: somebody let them use it before."""
    mine = (voice_shares.c.person == person, voice_shares.c.voice == id_)
    return (await tx.execute(select(voice_shares.c.id).where(*mine).limit(1))).scalar() is not None


async def _room(tx: Transaction, person: UUID) -> None:
    mine = (voices.c.person == person, voices.c.revoked_at.is_(None))
    query = select(func.count()).select_from(voices).where(*mine)
    if (await tx.execute(query)).scalar_one() >= MOST:
        raise Problem("voices_exceeded", limit=MOST)


def _voice(row: Row[Any], person: UUID, shared: Mapping[UUID, frozenset[VoiceScope]]) -> Voice:
    mine = row.person == person
    return Voice(
        id=row.id,
        owner=row.person,
        mine=mine,
        scopes=frozenset(VoiceScope) if mine else shared[row.id],
        of=Whose(row.of),
        language=row.language,
        recording=Recording.model_validate(row.recording),
        created_at=row.created_at,
        revoked_at=row.revoked_at,
        sealed=row.sealed,
    )
