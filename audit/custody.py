"""Custody of persons' keys: given into escrow, and taken back from there.

Knows that a tombstone outlives every copy: where a row, or a certificate on the log, says that a
person was erased, their key does not come back. Refuses to overwrite a key that is here.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from uuid import UUID

from sqlalchemy import func, select

from audit import escrow
from audit.erasure import begin, certified
from audit.escrow import Lock
from relay.errors import PersonErased
from relay.keys import PersonKey
from relay.spine import Spine
from relay.sql.database import Transaction
from relay.sql.schema import person_keys, secrets

_PAGE = 2000


async def give(spine: Spine, path: Path, lock: Lock) -> Counter[str]:
    """Write every living key, every tombstone and the site's secrets into a file at `path`."""
    found = Counter[str]()

    async def counted() -> AsyncIterator[list[list[str]]]:
        async for chunk in _chunks(spine):
            found.update(kind for kind, *_ in chunk)
            yield chunk

    await escrow.write(path, lock, counted())
    return found


async def take_back(spine: Spine, path: Path, lock: Lock) -> Counter[str]:
    """Keep the keys of the file that are lacking here; what became of each, counted.

    `restored`, `kept` (the same is here), `conflict` (another is, and stays), `erased` (here, on
    the log, or in the file: a tombstone is put, whatever the file has), `secret`. The site's
    secrets are put over those of a database in which nobody has a key yet.
    """
    gone = {event.person async for event in certified(spine.log)}
    fresh = await _is_fresh(spine)
    found = Counter[str]()
    for kind, *said in _entries(path, lock):
        if kind == "secret":
            found[await _take_secret(spine, *said, fresh=fresh)] += 1
        elif kind == "tombstone" or UUID(said[0]) in gone:
            found[await _bury(spine, UUID(said[0]))] += 1
        else:
            found[await _take_key(spine, UUID(said[0]), PersonKey(b64decode(said[1])))] += 1
    return found


async def _bury(spine: Spine, person: UUID) -> str:
    """Erase whoever was erased before; where that is known here, it stays as it was."""
    if not await spine.keys.erased(person):
        await begin(spine.database, spine.keys, spine.settings.site, person, UUID(int=0))
    return "erased"


def _entries(path: Path, lock: Lock) -> Sequence[list[str]]:
    """All of the file, so that it is known to be whole before any of it is used."""
    return [entry for chunk in escrow.read(path, lock) for entry in chunk]


async def _chunks(spine: Spine) -> AsyncIterator[list[list[str]]]:
    async with spine.database.reading() as tx:
        names = (await tx.execute(select(secrets.c.name))).scalars().all()
    yield [["secret", name, _text(await spine.keys.secret(name))] for name in names]
    last = UUID(int=0)
    while page := await _persons(spine, last):
        yield [await _entry(spine, person) for person in page]
        last = page[-1]


async def _persons(spine: Spine, after: UUID) -> list[UUID]:
    query = select(person_keys.c.person).where(person_keys.c.person > after)
    async with spine.database.reading() as tx:
        rows = await tx.execute(query.order_by(person_keys.c.person).limit(_PAGE))
        return [UUID(str(person)) for person in rows.scalars()]


async def _entry(spine: Spine, person: UUID) -> list[str]:
    try:
        return ["key", str(person), _text((await spine.keys.key(person)).secret)]
    except PersonErased:
        return ["tombstone", str(person)]


async def _is_fresh(spine: Spine) -> bool:
    async with spine.database.reading() as tx:
        query = select(func.count()).select_from(person_keys)
        return not (await tx.execute(query)).scalar_one()


async def _take_secret(spine: Spine, name: str, text: str, *, fresh: bool) -> str:
    value = b64decode(text)
    found = await spine.database.run(lambda tx: spine.keys.keep_secret(tx, name, value, over=fresh))
    return "secret" if found == value else "conflict"


async def _take_key(spine: Spine, person: UUID, key: PersonKey) -> str:
    async def take(tx: Transaction) -> str:
        query = select(person_keys.c.person).where(person_keys.c.person == person)
        known = (await tx.execute(query)).first() is not None
        found = await spine.keys.keep(tx, person, key)
        if found != key:
            return "conflict"
        return "kept" if known else "restored"

    try:
        return await spine.database.run(take)
    except PersonErased:
        return "erased"


def _text(data: bytes) -> str:
    return b64encode(data).decode()
