"""Persons and their keys in SQL: wrapped by the master key, or a tombstone.

Knows who a person is to us (a random id, found by the HMAC of an address) and whether their key
lives. Refuses to know what is sealed with it, and keeps no address.
"""

from __future__ import annotations

import hmac
import secrets as random
import time
from collections.abc import Callable
from datetime import timedelta
from hashlib import sha256
from math import inf
from uuid import UUID, uuid4

from sqlalchemy import select, update

from relay.errors import Misconfigured, Missing, PersonErased, Unavailable
from relay.handover import SECRET, Receiver
from relay.keys import KEY_BYTES, PersonKey
from relay.objects.port import ObjectStore
from relay.settings import Settings
from relay.sql.database import Database, Transaction
from relay.sql.master import MasterKey, Masters, WrongMaster, load_masters
from relay.sql.schema import person_keys, persons, secrets

CACHED_SECONDS = 60.0
CACHED_MOST = 50_000
SECRET_BYTES = 32

ADDRESS = "address"
"""Name of the secret under which addresses are hashed, the first that there is."""
_LOCAL = "the local person"  # no address is spelled like this
_DEFAULT_LIFE = timedelta(seconds=CACHED_SECONDS)


class SqlKeyStore:
    """The `relay.keys.KeyStore` over SQL; also finds and makes persons and their keys."""

    def __init__(
        self,
        database: Database,
        master: MasterKey | Masters,
        life: timedelta = _DEFAULT_LIFE,
        clock: Callable[[], float] = time.monotonic,
        objects: ObjectStore | None = None,
    ) -> None:
        """`clock` in seconds; one that never goes back, or an erased key would live on here.

        `objects` is where keys that other sites handed over lie; None: nobody hands over any.
        """
        self._database = database
        self._masters = master if isinstance(master, Masters) else Masters(lambda: [master])
        self._life = life
        self._clock = clock
        self._objects = objects
        self._cache: dict[UUID, tuple[float, PersonKey]] = {}
        self._secrets: dict[str, bytes] = {}

    async def check(self) -> None:
        """`Misconfigured` where the database is used with another master key than ours."""
        try:
            async with self._database.transaction() as tx:
                await self._secret(tx, ADDRESS)
        except WrongMaster as wrong:
            raise Misconfigured(str(wrong)) from None

    async def key(self, person: UUID) -> PersonKey:
        """The person's key, at most 60 s old; see the port for `PersonErased`, `Unavailable`."""
        if (cached := self._cached(person)) is not None:
            return cached
        async with self._database.reading() as tx:
            found = await self._find(tx, person)
        if found is None and self._objects is not None:
            found = await self._adopt(person, self._objects)
        if found is None:
            raise Unavailable(
                f"there is neither a key nor a tombstone for person {person}: restore the keys, or "
                f"end what waits for them by `voxrelay audit erase --user {person} --unknown`"
            )
        self._keep(person, found)
        return found

    async def create(self, tx: Transaction, person: UUID) -> PersonKey:
        """The person's key, made in the accepting transaction where there was none.

        `PersonErased` where a tombstone lies: an erased person never gets a key again.
        """
        if (found := await self._find(tx, person)) is not None:
            return found
        return await self.keep(tx, person, PersonKey(random.token_bytes(KEY_BYTES)))

    async def receiver(self) -> Receiver:
        """What opens keys that are handed over to this site."""
        return Receiver(await self.secret(SECRET))

    async def erased(self, person: UUID) -> bool:
        """Whether a tombstone lies there right now, whatever is cached."""
        try:
            async with self._database.reading() as tx:
                await self._find(tx, person)
        except PersonErased:
            self._forget(person)
            return True
        return False

    async def _adopt(self, person: UUID, objects: ObjectStore) -> PersonKey | None:
        """The key that another site handed over, from now on in our rows; None where none was.

        `PersonErased` where a tombstone came in between: what lies there then is nobody's key.
        """
        receiver = await self.receiver()
        try:
            envelope = await objects.get(receiver.recipient.object_key(person))
        except Missing:
            return None
        handed = receiver.open(person, envelope)
        async with self._database.transaction() as tx:
            return await self.keep(tx, person, handed)

    async def keep(self, tx: Transaction, person: UUID, fresh: PersonKey) -> PersonKey:
        """Keep `fresh` as the key of `person`, or find the one that was there before.

        `PersonErased` where a tombstone lies.
        """
        master = await self._in_use(tx)
        row = {
            "person": person,
            "wrapped": master.wrap(key_row(person), fresh.secret),
            "master": master.id,
            "created_at": tx.now,
        }
        if await tx.insert_absent(person_keys, row):
            return fresh
        found = await self._find(tx, person)  # another transaction was quicker
        if found is None:
            raise Unavailable(f"the key of person {person} came and went")
        return found

    async def destroy(self, tx: Transaction, person: UUID) -> bool:
        """Put a tombstone where the person's key was; False where one lay there already.

        Other processes notice within the time a key is cached.
        """
        grave = {"person": person, "created_at": tx.now, "destroyed_at": tx.now}
        buried = await tx.insert_absent(person_keys, grave)
        if not buried:
            done = await tx.execute(
                update(person_keys)
                .where(person_keys.c.person == person, person_keys.c.destroyed_at.is_(None))
                .values(wrapped=None, master=None, destroyed_at=tx.now)
            )
            buried = done.rowcount == 1
        tx.afterwards(lambda: self._forget(person))
        return buried

    async def person_of_address(self, tx: Transaction, address: str) -> UUID:
        """The person of a client without a token, made where the address is new."""
        digest = hmac.new(await self._secret(tx, ADDRESS), address.encode(), sha256).digest()
        row = {"id": uuid4(), "address_hmac": digest, "created_at": tx.now}
        wanted = select(persons.c.id).where(persons.c.address_hmac == digest)
        if (found := (await tx.execute(wanted)).scalar()) is not None:
            return UUID(str(found))
        await tx.insert_absent(persons, row)
        return UUID(str((await tx.execute(wanted)).scalar_one()))

    async def local_person(self, tx: Transaction) -> UUID:
        """The one person of everybody on the machine itself."""
        return await self.person_of_address(tx, _LOCAL)

    async def person_of_name(self, tx: Transaction, name: str) -> UUID:
        """The person of somebody who works here, made where the name is new."""
        return await self.person_of_address(tx, f"named {name}")

    async def secret(self, name: str) -> bytes:
        """32 random bytes that every process of this site shares, made at the first call.

        For what is no person's: signatures of audio addresses, tokens. `name` up to 64 characters.
        """
        if name not in self._secrets:
            async with self._database.transaction() as tx:
                self._secrets[name] = await self._secret(tx, name)
        return self._secrets[name]

    async def keep_secret(self, tx: Transaction, name: str, value: bytes, *, over: bool) -> bytes:
        """Keep `value` as the secret of that name, or find the one that was there before.

        `over` puts it in that one's place: only where nothing was ever made with it.
        """
        master = await self._in_use(tx)
        wrapped = {"wrapped": master.wrap(secret_row(name), value), "master": master.id}
        if not await tx.insert_absent(secrets, {"name": name, **wrapped}) and over:
            await tx.execute(update(secrets).where(secrets.c.name == name).values(wrapped))
        self._secrets.pop(name, None)
        return await self._secret(tx, name)

    async def _secret(self, tx: Transaction, name: str) -> bytes:
        wanted = select(secrets).where(secrets.c.name == name)
        if (found := (await tx.execute(wanted)).one_or_none()) is None:
            master = await self._in_use(tx)
            fresh = master.wrap(secret_row(name), random.token_bytes(SECRET_BYTES))
            row = {"name": name, "wrapped": fresh, "master": master.id}
            await tx.insert_absent(secrets, row)
            found = (await tx.execute(wanted)).one()
        return self._masters.of(found.master).unwrap(secret_row(name), found.wrapped)

    async def _in_use(self, tx: Transaction) -> MasterKey:
        """The master that wraps what is new: that of one row which a rotation wraps first.

        The row stays locked until `tx` ends, so nothing is wrapped by a master that has just gone.
        """
        query = select(secrets.c.master).where(secrets.c.name == ADDRESS)
        found = (await tx.execute(query.with_for_update(read=True))).scalar()
        return self._masters.first if found is None else self._masters.of(found)

    async def _find(self, tx: Transaction, person: UUID) -> PersonKey | None:
        query = select(person_keys).where(person_keys.c.person == person)
        row = (await tx.execute(query)).one_or_none()
        if row is None:
            return None
        if row.wrapped is None:
            raise PersonErased(f"person {person} was erased")
        return PersonKey(self._masters.of(row.master).unwrap(key_row(person), row.wrapped))

    def _cached(self, person: UUID) -> PersonKey | None:
        until, key = self._cache.get(person, (-inf, None))
        return key if until > self._clock() else None

    def _keep(self, person: UUID, key: PersonKey) -> None:
        if len(self._cache) >= CACHED_MOST:
            self._cache.clear()
        self._cache[person] = (self._clock() + self._life.total_seconds(), key)

    def _forget(self, person: UUID) -> None:
        self._cache.pop(person, None)


def open_keys(
    settings: Settings, database: Database, objects: ObjectStore | None = None
) -> SqlKeyStore:
    """The key store of `settings`; `Misconfigured` where the master key is amiss."""
    masters = Masters(lambda: load_masters(settings))
    return SqlKeyStore(database, masters, objects=objects)


def key_row(person: UUID) -> str:
    """What the wrapped key of `person` is bound to."""
    return f"the key of person {person}"


def secret_row(name: str) -> str:
    """What the wrapped secret of that name is bound to."""
    return f"the secret {name}"
