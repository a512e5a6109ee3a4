"""Uploads in parts: bytes that come piece by piece, at any gateway, until they are a recording.

Knows rows, and the objects they name. A piece counts once its row is committed; the object lay in
the store before, under a name that says where it begins and what is in it, so that whoever sends it
again after a death finds it there. Refuses to know HTTP, sockets, and what the bytes are.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Row, delete, insert, select, update

from ingest.problems import Problem
from relay.errors import Missing, PersonErased, Unavailable
from relay.objects.kinds import UPLOAD
from relay.objects.port import ObjectStore
from relay.sql.database import Database, Transaction
from relay.sql.keys import SqlKeyStore
from relay.sql.locks import hold_person
from relay.sql.schema import upload_parts, uploads

PIECE = 1_000_000
"""Bytes that are written at once: what a death can cost a client."""
MOST_PIECES = 2_000
IDLE = timedelta(minutes=5)
"""After so long an upload without a byte gives way to another, where there is no room for both."""
_TYPE = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """Bytes of one upload, and how many and how much a person may have that live for `life`."""

    each: int
    count: int
    total: int
    life: timedelta


@dataclass(frozen=True, slots=True)
class Upload:
    """How far an upload has come. No `length`: its sender does not know it yet."""

    id: UUID
    offset: int
    length: int | None
    expires_at: datetime

    @property
    def whole(self) -> bool:
        """Whether it has all of its bytes."""
        return self.offset == self.length


class Uploads:
    """The uploads of one site. Another's is no upload: `Problem` (`upload_unknown`)."""

    def __init__(
        self, database: Database, objects: ObjectStore, keys: SqlKeyStore, limits: UploadLimits
    ) -> None:
        self._database, self._objects, self._keys = database, objects, keys
        self.limits = limits

    async def begin(self, person: UUID, length: int | None) -> Upload:
        """An upload without bytes; `Problem`: `upload_too_large`, `uploads_exceeded`."""
        if length is not None:
            self._check(length, self.limits.each)
        try:
            return await self._database.run(lambda tx: self._begin(tx, person, length))
        except PersonErased:
            raise Problem("person_erased") from None

    async def find(self, person: UUID, id_: UUID) -> Upload:
        """The person's upload; `Problem`: `upload_unknown`, `upload_expired`."""
        async with self._database.reading() as tx:
            return _upload(await _row(tx, person, id_))

    async def declare(self, person: UUID, id_: UUID, length: int) -> Upload:
        """Say how long it is going to be, once; `Problem`: `upload_length_fixed`."""
        self._check(length, self.limits.each)

        async def work(tx: Transaction) -> Upload:
            row = await _row(tx, person, id_, lock=True)
            if row.length not in (None, length) or length < row.taken:
                raise Problem("upload_length_fixed")
            await tx.execute(update(uploads).where(uploads.c.id == id_).values(length=length))
            return Upload(id_, row.taken, length, row.expires_at)

        return await self._database.run(work)

    async def append(self, person: UUID, upload: Upload, data: bytes) -> Upload:
        """`upload` with `data` at its end: once this returns, they are safe.

        `Problem`: `offset_mismatch` where others went on meanwhile, `upload_too_large`,
        `upload_parts_exceeded`.
        """
        self._check(upload.offset + len(data), self._most(upload.length))
        name = f"{upload.id}.{upload.offset}.{sha256(data).hexdigest()[:32]}"
        key = f"{UPLOAD}/{person}/{name}"
        await self._objects.put(key, data, _TYPE)
        try:
            return await self._database.run(
                lambda tx: self._append(tx, person, upload, key, len(data))
            )
        except Problem:
            with suppress(Unavailable):  # then it is swept
                await self._discard(key)
            raise

    async def read(self, person: UUID, id_: UUID) -> bytes:
        """All of it; `Problem` (`upload_incomplete`) where it is not whole."""
        async with self._database.reading() as tx:
            upload = _upload(await _row(tx, person, id_))
            keys = await _keys(tx, id_)
        if not upload.whole:
            raise Problem("upload_incomplete", offset=upload.offset)
        try:
            return b"".join([await self._objects.get(key) for key in keys])
        except Missing:  # removed, or its time was up, while it was read
            raise Problem("upload_expired") from None

    async def end(self, person: UUID, id_: UUID) -> None:
        """Remove it, whole or not."""

        async def work(tx: Transaction) -> Sequence[str]:
            await _row(tx, person, id_, lock=True)
            keys = await _keys(tx, id_)
            await tx.execute(delete(upload_parts).where(upload_parts.c.upload == id_))
            await tx.execute(delete(uploads).where(uploads.c.id == id_))
            return keys

        for key in await self._database.run(work):
            await self._objects.delete(key)  # what a death leaves is swept

    def _most(self, length: int | None) -> int:
        return self.limits.each if length is None else length

    def _check(self, size: int, limit: int) -> None:
        if size > limit:
            raise Problem("upload_too_large", limit=limit)

    async def _begin(self, tx: Transaction, person: UUID, length: int | None) -> Upload:
        await hold_person(tx, person)  # two at once would each find room for one
        await self._keys.create(tx, person)
        try:
            await self._room(tx, person, length)
        except Problem:
            if not await _give_way(tx, person):
                raise
            await self._room(tx, person, length)
        upload = Upload(uuid4(), 0, length, tx.now + self.limits.life)
        row = {
            "id": upload.id,
            "person": person,
            "length": length,
            "taken": 0,
            "pieces": 0,
            "created_at": tx.now,
            "expires_at": upload.expires_at,
        }
        await tx.execute(insert(uploads).values(row))
        return upload

    async def _room(self, tx: Transaction, person: UUID, length: int | None) -> None:
        """An upload whose length nobody knows takes as much as one may have."""
        query = select(uploads).where(uploads.c.person == person, uploads.c.expires_at > tx.now)
        rows = (await tx.execute(query)).all()
        sizes = [self._most(size) for size in (length, *(row.length for row in rows))]
        if len(sizes) > self.limits.count or sum(sizes) > self.limits.total:
            first = min((_gives_way_at(row) for row in rows), default=tx.now)
            raise Problem("uploads_exceeded", retry_after=(first - tx.now).total_seconds())

    async def _append(
        self, tx: Transaction, person: UUID, upload: Upload, key: str, size: int
    ) -> Upload:
        row = await _row(tx, person, upload.id, lock=True)
        if row.taken != upload.offset:
            raise Problem("offset_mismatch", offset=row.taken)
        if row.pieces >= MOST_PIECES:
            raise Problem("upload_parts_exceeded", limit=MOST_PIECES)
        self._check(row.taken + size, self._most(row.length))
        piece = {"upload": upload.id, "start": row.taken, "key": key}
        await tx.execute(insert(upload_parts).values(piece))
        further = {"taken": row.taken + size, "pieces": row.pieces + 1}
        await tx.execute(update(uploads).where(uploads.c.id == upload.id).values(further))
        return Upload(upload.id, row.taken + size, row.length, row.expires_at)

    async def _discard(self, key: str) -> None:
        """Delete a piece that came too late, unless the one that was taken is the very same."""
        async with self._database.reading() as tx:
            query = select(upload_parts.c.key).where(upload_parts.c.key == key)
            named = (await tx.execute(query)).scalar()
        if named is None:
            await self._objects.delete(key)


async def _row(tx: Transaction, person: UUID, id_: UUID, *, lock: bool = False) -> Row[Any]:
    query = select(uploads).where(uploads.c.id == id_, uploads.c.person == person)
    row = (await tx.execute(query.with_for_update() if lock else query)).one_or_none()
    if row is None:
        raise Problem("upload_unknown")
    if row.expires_at <= tx.now:
        raise Problem("upload_expired")
    return row


async def _give_way(tx: Transaction, person: UUID) -> bool:
    """Remove what was begun a while ago and has no byte: whoever began it may not know of it.

    The answer that named it may have been lost; nothing of a sound goes with it.
    """
    idle = (uploads.c.taken == 0, uploads.c.created_at <= tx.now - IDLE)
    found = await tx.execute(delete(uploads).where(uploads.c.person == person, *idle))
    return found.rowcount > 0


def _gives_way_at(row: Row[Any]) -> datetime:
    """When there may be room where `row` is."""
    end: datetime = row.expires_at
    return end if row.taken else min(row.created_at + IDLE, end)


async def _keys(tx: Transaction, id_: UUID) -> Sequence[str]:
    query = select(upload_parts.c.key).where(upload_parts.c.upload == id_)
    return (await tx.execute(query.order_by(upload_parts.c.start))).scalars().all()


def _upload(row: Row[Any]) -> Upload:
    return Upload(row.id, row.taken, row.length, row.expires_at)
