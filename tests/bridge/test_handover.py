"""A key handed from one site to another: opened there alone, kept there, never after erasure."""

import secrets
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from relay.errors import PersonErased, Unavailable
from relay.handover import Receiver, Recipient
from relay.keys import KEY_BYTES, PersonKey
from relay.objects.disk import DiskStore
from relay.sql.database import Database
from relay.sql.dues import Due
from relay.sql.keys import SqlKeyStore
from relay.sql.master import MasterKey
from relay.sweep import SWEEP, Sweeper
from tests.relay.test_sweep import Endless

MASTER = MasterKey(bytes(range(32)))
NEVER = timedelta(0)


@pytest.fixture
def objects(tmp_path: Path) -> DiskStore:
    return DiskStore(tmp_path / "objects")


@pytest.fixture
def keys(sql: Database, objects: DiskStore) -> SqlKeyStore:
    return SqlKeyStore(sql, MASTER, NEVER, objects=objects)


def fresh() -> PersonKey:
    return PersonKey(secrets.token_bytes(KEY_BYTES))


async def hand_over(keys: SqlKeyStore, objects: DiskStore, person: UUID, key: PersonKey) -> str:
    """What an edge does with the public key it was given."""
    recipient = Recipient.read(str((await keys.receiver()).recipient))
    place = recipient.object_key(person)
    await objects.put(place, recipient.seal(person, key), "application/octet-stream")
    return place


async def swept(sql: Database, objects: DiskStore) -> set[str]:
    """What is left after a sweep two days from now."""
    at = sql.now() + timedelta(days=2)
    sql._clock = lambda: at
    await Sweeper(sql, objects, Endless())(Due(uuid4(), SWEEP, at))
    return {stat.key async for stat in objects.list("")}


def test_only_the_recipient_opens_it_and_only_for_that_person() -> None:
    ours, person, key = Receiver(secrets.token_bytes(32)), uuid4(), fresh()
    envelope = ours.recipient.seal(person, key)
    assert key.secret not in envelope
    assert ours.open(person, envelope) == key
    for receiver, whose, what in [
        (Receiver(secrets.token_bytes(32)), person, envelope),
        (ours, uuid4(), envelope),
        (ours, person, envelope[:-1]),
        (ours, person, ours.recipient.seal(person, PersonKey(b"short"))),
    ]:
        with pytest.raises(Unavailable, match="cannot be opened"):
            receiver.open(whose, what)


@pytest.mark.parametrize("text", ["", "zz", "00" * 31, "00" * 32])
def test_what_is_no_public_key_is_refused_at_once(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Recipient.read(text)


async def test_a_key_that_was_handed_over_is_adopted_for_good(
    sql: Database, keys: SqlKeyStore, objects: DiskStore
) -> None:
    person, key = uuid4(), fresh()
    with pytest.raises(Unavailable, match="neither a key nor a tombstone"):
        await keys.key(person)
    place = await hand_over(keys, objects, person, key)
    assert await keys.key(person) == key
    await objects.delete(place)
    assert await SqlKeyStore(sql, MASTER).key(person) == key


async def test_nobody_hands_over_another_key_for_a_person_who_has_one(
    sql: Database, keys: SqlKeyStore, objects: DiskStore
) -> None:
    person = uuid4()
    async with sql.transaction() as tx:
        key = await keys.create(tx, person)
    await hand_over(keys, objects, person, fresh())
    assert await keys.key(person) == key


async def test_an_erased_person_gets_no_key_again(
    sql: Database, keys: SqlKeyStore, objects: DiskStore
) -> None:
    person, key = uuid4(), fresh()
    await hand_over(keys, objects, person, key)
    assert not await keys.erased(person)
    async with sql.transaction() as tx:
        await keys.destroy(tx, person)
    assert await keys.erased(person)
    with pytest.raises(PersonErased):
        await keys.key(person)


async def test_an_envelope_stays_until_its_key_is_ours_and_then_goes(
    sql: Database, keys: SqlKeyStore, objects: DiskStore
) -> None:
    waiting, adopted = uuid4(), uuid4()
    places = [await hand_over(keys, objects, person, fresh()) for person in (waiting, adopted)]
    await keys.key(adopted)
    assert await swept(sql, objects) == {places[0]}


async def test_whatever_comes_for_an_erased_person_is_swept(
    sql: Database, keys: SqlKeyStore, objects: DiskStore
) -> None:
    person = uuid4()
    async with sql.transaction() as tx:
        await keys.destroy(tx, person)
    await hand_over(keys, objects, person, fresh())
    await objects.put(f"recording/{person}/late", b"sound", "audio/flac")
    assert await swept(sql, objects) == set()
