"""Keys change hands and none is lost, none is told, and none of an erased person comes back."""

from __future__ import annotations

import asyncio
import json
import logging
from base64 import b64encode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from sqlalchemy import delete, select
from typer.testing import CliRunner

from audit import custody
from audit import escrow as files
from audit.erasure import begin
from audit.escrow import Lock, Passphrase, PublicKey
from audit.export import export
from audit.lines import hour_of
from audit.signing import load_signer
from relay.errors import Misconfigured, PersonErased, Unavailable
from relay.handover import Recipient
from relay.keys import PersonKey
from relay.settings import Settings
from relay.spine import Spine, open_spine
from relay.sql import rewrap as rewrapping
from relay.sql import schema
from relay.sql.database import Database
from relay.sql.keys import SqlKeyStore
from relay.sql.master import MASTER_FILE, MasterKey, Masters, renew, retire
from relay.sql.rewrap import rewrap, wrapped_by
from tests.audit.test_erasure import erase, live_person, opened, published
from tests.sql import until
from voxrelay.main import app

OLD, NEW = MasterKey(bytes(range(32))), MasterKey(bytes(range(1, 33)))


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(files._SCRYPT, "n", 2**10)


async def made(keys: SqlKeyStore, sql: Database) -> tuple[UUID, PersonKey]:
    person = uuid4()
    async with sql.transaction() as tx:
        return person, await keys.create(tx, person)


async def test_a_rotation_under_load_leaves_no_key_behind_and_loses_none(
    sql: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rewrapping, "_PAGE", 3)
    file = [OLD]
    stale = SqlKeyStore(sql, Masters(lambda: file))
    await stale.check()
    secret = await stale.secret("urls")
    known = dict([await made(stale, sql) for _ in range(10)])
    erased, _ = await made(stale, sql)
    async with sql.transaction() as tx:
        await stale.destroy(tx, erased)
    file[:] = [NEW, OLD]  # `stale` has read it before
    over = asyncio.Event()

    async def accept() -> None:
        while not over.is_set():
            person, key = await made(stale, sql)
            known[person] = key

    accepting = [asyncio.create_task(accept()) for _ in range(3)]
    before = len(known)
    assert await rewrap(sql, OLD, NEW) >= 12
    await until(lambda: len(known) >= before + 6, seconds=60)
    over.set()
    await asyncio.gather(*accepting)
    assert set(await wrapped_by(sql)) == {NEW.id}
    after = SqlKeyStore(sql, NEW)
    assert {person: await after.key(person) for person in known} == known
    assert await after.secret("urls") == secret
    with pytest.raises(PersonErased):
        await after.key(erased)
    with pytest.raises(Unavailable, match=NEW.id):
        await SqlKeyStore(sql, OLD).key(next(iter(known)))


async def test_a_death_in_mid_rotation_leaves_every_key_readable_and_the_rest_to_a_second_run(
    sql: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rewrapping, "_PAGE", 2)
    both = SqlKeyStore(sql, Masters(lambda: [NEW, OLD]))
    old = SqlKeyStore(sql, OLD)
    await old.check()
    known = dict([await made(old, sql) for _ in range(5)])
    was, left = rewrapping._page, 5

    async def deadly(*given: Any) -> int:
        nonlocal left
        left -= 1
        if left == 0:
            raise KeyboardInterrupt
        return await was(*given)

    with monkeypatch.context() as dying:
        dying.setattr(rewrapping, "_page", deadly)
        with pytest.raises(KeyboardInterrupt):
            await rewrap(sql, OLD, NEW)
    assert set(await wrapped_by(sql)) == {NEW.id, OLD.id}
    assert {person: await both.key(person) for person in known} == known
    person, key = await made(both, sql)
    await rewrap(sql, OLD, NEW)
    assert set(await wrapped_by(sql)) == {NEW.id}
    assert await SqlKeyStore(sql, NEW).key(person) == key


def test_an_old_master_is_written_over_where_it_lay(tmp_path: Path) -> None:
    file = tmp_path / "master.key"
    file.write_text(OLD.secret.hex())
    file.chmod(0o600)
    new, old = renew(file)
    assert old == OLD
    assert list(renew(file)) == [new, old], "a rotation that has begun is gone on with"
    with file.open("rb") as before:
        assert OLD.secret.hex().encode() in before.read()
        assert retire(file) == new
        before.seek(0)
        assert set(before.read()) == {0}
    assert file.read_text() == f"{new.secret.hex()}\n"
    assert file.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.iterdir()] == [file.name]


def asked(*words: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code == code, done.output
    return done.output


def test_a_backup_is_worth_nothing_once_the_master_was_rotated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOXRELAY_DATA", str(tmp_path))

    async def lives() -> tuple[UUID, PersonKey]:
        async with opened(tmp_path) as spine:
            person = await live_person(spine)
            key = await spine.keys.key(person)
            await spine.database.settle()
            return person, key

    async def opens(person: UUID) -> PersonKey:
        async with open_spine(Settings()) as spine:
            return await spine.keys.key(person)

    person, key = asyncio.run(lives())
    backup = (tmp_path / "app.db").read_bytes()
    prepared = json.loads(asked("keys", "rotate", "--prepare", "--json"))
    done = json.loads(asked("keys", "rotate", "--json"))
    assert (done["new"], done["old"]) == (prepared["new"], prepared["old"])
    assert json.loads(asked("keys", "show", "--json"))["wraps"].keys() == {done["new"]}
    assert asyncio.run(opens(person)) == key
    assert len((tmp_path / MASTER_FILE).read_text().split()) == 1
    (tmp_path / "app.db").write_bytes(backup)
    with pytest.raises(Misconfigured, match=done["old"]):
        asyncio.run(opens(person))


PRIVATE = X25519PrivateKey.generate()
PUBLIC = Recipient(PRIVATE.public_key())
LOCKS: dict[str, tuple[Lock, Lock]] = {
    "passphrase": (Passphrase(b"correct horse battery"), Passphrase(b"correct horse battery")),
    "public key": (PublicKey(PUBLIC), PublicKey(PUBLIC, PRIVATE)),
}


@pytest.fixture
async def spine(tmp_path: Path) -> AsyncIterator[Spine]:
    async with opened(tmp_path / "here") as found:
        yield found


@pytest.mark.parametrize("lock", LOCKS)
async def test_keys_come_back_from_escrow_under_another_master(
    spine: Spine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lock: str
) -> None:
    monkeypatch.setattr(custody, "_PAGE", 2)
    seals, opens = LOCKS[lock]
    persons = [await live_person(spine, 0) for _ in range(5)]
    keys = [await spine.keys.key(person) for person in persons]
    async with spine.database.transaction() as tx:
        known = await spine.keys.person_of_address(tx, "192.0.2.1")
        await spine.keys.destroy(tx, uuid4())
    file = tmp_path / "escrow"
    given = await custody.give(spine, file, seals)
    assert (given["key"], given["tombstone"]) == (5, 1)
    assert file.stat().st_mode & 0o777 == 0o600
    async with opened(tmp_path / "there") as there:
        back = await custody.take_back(there, file, opens)
        assert (back["restored"], back["erased"], back["conflict"]) == (5, 1, 0)
        assert [await there.keys.key(person) for person in persons] == keys
        again = await custody.take_back(there, file, opens)
        assert (again["kept"], again["restored"], again["conflict"]) == (5, 0, 0)
        async with spine.database.transaction() as tx:
            assert await spine.keys.person_of_address(tx, "192.0.2.1") == known
        secret = await spine.keys.secret("address")
        assert await there.keys.secret("address") == secret, "or every address is a new person"


async def test_an_erased_persons_key_never_comes_back_from_escrow(
    spine: Spine, tmp_path: Path
) -> None:
    seals, opens = LOCKS["public key"]
    by_row, by_log, lives = [await live_person(spine, 0) for _ in range(3)]
    file = tmp_path / "escrow"
    await custody.give(spine, file, seals)
    await begin(spine.database, spine.keys, "s", by_row, "rita")
    await erase(spine, by_log)
    await published(spine, 1)
    async with spine.database.transaction() as tx:  # as if the database were lost
        for table in (schema.person_keys, schema.erasures, schema.due):
            which = table.c.id.is_not(None) if table is schema.due else table.c.person != by_row
            await tx.execute(delete(table).where(which))
    found = await custody.take_back(spine, file, opens)
    assert (found["erased"], found["restored"]) == (2, 1)
    assert await spine.keys.key(lives)
    for person in (by_row, by_log):
        with pytest.raises(PersonErased):
            await SqlKeyStore(spine.database, spine.keys._masters).key(person)


async def test_another_key_that_is_here_stays(spine: Spine, tmp_path: Path) -> None:
    seals, opens = LOCKS["passphrase"]
    person = await live_person(spine, 0)
    file = tmp_path / "escrow"
    await custody.give(spine, file, seals)
    async with spine.database.transaction() as tx:
        await tx.execute(delete(schema.person_keys))
        other = await spine.keys.create(tx, person)
    found = await custody.take_back(spine, file, opens)
    assert (found["conflict"], found["restored"]) == (1, 0)
    assert await SqlKeyStore(spine.database, spine.keys._masters).key(person) == other


def lines(data: bytes) -> list[bytes]:
    return data.splitlines(keepends=True)


CHANGES: dict[str, Any] = {
    "ends early": lambda data: b"".join(lines(data)[:-1]),
    "lacks a chunk": lambda data: b"".join([*lines(data)[:1], *lines(data)[2:]]),
    "chunks change places": lambda data: b"".join([lines(data)[n] for n in (0, 2, 1, 3)]),
    "has no chunk": lambda data: lines(data)[0],
    "another byte": lambda data: data[:-9] + bytes([data[-9] ^ 1]) + data[-8:],
    "another head": lambda data: data.replace(b'"format"', b'"format" ', 1),
    "no escrow file": lambda data: b"{}\n" + data,
    "empty": lambda data: b"",
}


@pytest.mark.parametrize("change", CHANGES)
async def test_an_escrow_file_that_was_changed_restores_nothing(
    spine: Spine, tmp_path: Path, change: str
) -> None:
    seals, opens = LOCKS["public key"]
    await live_person(spine, 0)
    file = tmp_path / "escrow"
    await custody.give(spine, file, seals)
    assert len(lines(file.read_bytes())) == 4
    file.write_bytes(CHANGES[change](file.read_bytes()))
    async with opened(tmp_path / "there") as there:
        with pytest.raises(Misconfigured, match="escrow file"):
            await custody.take_back(there, file, opens)
        async with there.database.reading() as tx:
            assert (await tx.execute(select(schema.person_keys))).all() == []


@pytest.mark.parametrize(
    "lock",
    [
        Passphrase(b"another horse battery"),
        PublicKey(Recipient(X25519PrivateKey.generate().public_key()), PRIVATE),
    ],
    ids=["passphrase", "public key"],
)
async def test_an_escrow_file_opens_to_nobody_else(
    spine: Spine, tmp_path: Path, lock: Lock
) -> None:
    for name, (seals, _) in LOCKS.items():
        await custody.give(spine, tmp_path / name, seals)
        with pytest.raises(Misconfigured, match="cannot be opened"):
            await custody.take_back(spine, tmp_path / name, lock)


def test_no_key_is_told_by_any_command_log_line_export_or_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    data = tmp_path / "data"
    monkeypatch.setenv("VOXRELAY_DATA", str(data))
    caplog.set_level(logging.DEBUG)
    logging.getLogger("aiosqlite").setLevel(logging.INFO)  # too much to be read by anybody

    async def lives() -> list[bytes]:
        async with opened(data) as spine:
            person = await live_person(spine)
            found = [await spine.keys.secret("urls"), (await spine.keys.key(person)).secret]
            return [*found, bytes.fromhex((data / MASTER_FILE).read_text())]

    async def exported() -> None:
        async with opened(data) as spine:
            signer = load_signer(data / "audit.key", make=True)
            await erase(spine, await live_person(spine))
            await published(spine, 1)
            hour = hour_of(spine.database.now())
            await export(spine, signer, [hour], tmp_path / "bundle.tar", objects=True)

    told = asyncio.run(lives())
    words = tmp_path / "words"
    words.write_text("correct horse battery\n")
    said = [asked("keys", "new", str(tmp_path / "private"))]
    private = (tmp_path / "private").read_text().strip()
    said.append(asked("keys", "escrow", str(tmp_path / "a"), "--to", said[0].strip()))
    said.append(asked("keys", "escrow", str(tmp_path / "b"), "--passphrase-file", str(words)))
    said.append(asked("keys", "rotate"))
    said.append(asked("keys", "restore", str(tmp_path / "a"), "--key-file", f"{tmp_path}/private"))
    said.append(asked("keys", "restore", str(tmp_path / "b"), "--passphrase-file", str(words)))
    assert "kept 2" in said[-1], "the person's, and the auditor's"
    assert "kept 2" in said[-2]
    said.append(asked("keys", "show"))
    told.append(bytes.fromhex((data / MASTER_FILE).read_text()))
    told.append(bytes.fromhex(private))
    asyncio.run(exported())
    held = [(tmp_path / name).read_bytes() for name in ("a", "b", "bundle.tar")]
    where = b"\n".join([*held, "".join(said).encode(), caplog.text.encode()])
    assert b"person-erased" in where
    for key in told:
        for spelled in (key, key.hex().encode(), b64encode(key), b64encode(key).rstrip(b"=")[:-1]):
            assert spelled not in where
        assert repr(key).encode() not in where


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["escrow", "OUT"], "either --to"),
        (["escrow", "OUT", "--to", "xyz"], "64 hex digits"),
        (["escrow", "OUT", "--passphrase-file", "SHORT"], "12 characters"),
        (["escrow", "SHORT", "--to", "00"], "exists"),
        (["restore", "SHORT"], "either --key-file"),
        (["restore", "SHORT", "--key-file", "SHORT"], "no private key"),
        (["new", "SHORT"], "exists"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], why: str
) -> None:
    monkeypatch.setenv("VOXRELAY_DATA", str(tmp_path / "data"))
    short = tmp_path / "short"
    short.write_text("short")
    places = {"OUT": str(tmp_path / "out"), "SHORT": str(short)}
    done = CliRunner().invoke(app, ["keys", *(places.get(word, word) for word in words)])
    assert done.exit_code != 0
    assert why in done.output
    assert not (tmp_path / "out").exists()
