"""Who is erased is nowhere: not in a topic, a row, an object or a file; everybody else is whole."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import numpy as np
import pytest
from sqlalchemy import delete, insert, select, update
from typer.testing import CliRunner

from audit import erasure
from audit.certificate import faults
from audit.erasure import ERASE, Eraser, begin, certified, recall, state
from audit.signing import Signer, load_signer
from audit.trail import trail
from infra.topics import apply
from relay import flac
from relay.answer import Answerer
from relay.codec import decode, head_of
from relay.errors import Misconfigured, PersonErased, Unavailable
from relay.log.port import Record
from relay.objects import disk
from relay.outbox import Outbox
from relay.settings import Settings
from relay.spine import Spine, open_spine
from relay.sql import schema
from relay.sql.dues import Due
from relay.timer import Again, Done, Timer
from schemas.events import JobFailed
from schemas.states import State
from schemas.topics import topic_of
from tests.audit.relay import TEXTS, address_of, running, send
from tests.audit.relay import until as comes_to
from tests.journeys.steps import recording
from tests.relay.stages import Approving, uploaded
from voxrelay.audit import app
from voxrelay.up import prepare

AT_ONCE = timedelta(0)
MINE, THEIRS = "erased", "delivered"
"""Fates of `tests.audit.relay`, for their addresses: who is erased, and somebody else."""


class Died(BaseException):
    """Stands for SIGKILL: nothing of ours catches it."""


@pytest.fixture
async def spine(tmp_path: Path) -> AsyncIterator[Spine]:
    async with opened(tmp_path) as found:
        yield found


@asynccontextmanager
async def opened(data: Path) -> AsyncIterator[Spine]:
    async with open_spine(Settings(data=data)) as found:
        await apply(found.log, found.settings)
        yield found


def signer(spine: Spine) -> Signer:
    return load_signer(spine.settings.data / "audit.key", make=True)


def eraser(spine: Spine, settled: timedelta = AT_ONCE) -> Eraser:
    return Eraser(spine.database, spine.store, spine.settings.site, signer(spine), settled)


async def erase(spine: Spine, person: UUID, settled: timedelta = AT_ONCE) -> None:
    """What the command does, less its waiting."""
    await begin(spine.database, spine.keys, spine.settings.site, person, "rita")
    await rest(spine, settled)


async def rest(spine: Spine, settled: timedelta = AT_ONCE) -> None:
    timer = Timer(spine.database, spine.keys, {ERASE: eraser(spine, settled)})
    while await timer.once():
        pass


async def live_person(spine: Spine, objects: int = 3) -> UUID:
    """A person with a key, an address, a job that has ended, and objects of their own."""
    async with spine.database.transaction() as tx:
        person = await spine.keys.person_of_address(tx, f"192.0.2.{uuid4()}")
        await spine.keys.create(tx, person)
        await tx.execute(insert(schema.jobs).values(job(person, tx.now)))
    for n in range(objects):
        await spine.store.put(f"speech/{person}/{n}", f"sound {n} of {person}".encode(), "audio/x")
    return person


def job(person: UUID, now: Any, state: State = State.DELIVERED) -> dict[str, Any]:
    return {
        "id": uuid4(),
        "person": person,
        "site": "s",
        "state": state.value,
        "rank": 0,
        "seq": 0,
        "accepted_at": now,
        "updated_at": now,
        "sealed": {"text": "AAAA"},
        "detail": {"code": "c"},
    }


async def published(spine: Spine, count: int) -> list[Any]:
    """What is certified on the log, once there are `count`."""
    outbox = Outbox(spine.database, spine.log)
    working = asyncio.create_task(outbox.run())
    try:
        async with asyncio.timeout(60):
            while True:
                found = [event async for event in certified(spine.log)]
                if len(found) >= count:
                    return found
                await asyncio.sleep(0.05)
    finally:
        outbox.stop()
        await working


def places(data: Path, needle: bytes) -> list[str]:
    """Files under `data` that hold these bytes anywhere."""
    assert len(needle) >= 9
    files = (path for path in data.rglob("*") if path.is_file())
    return sorted(str(path.relative_to(data)) for path in files if needle in path.read_bytes())


def voice() -> bytes:
    """A recording that nobody else sends."""
    heard = flac.read_flac(recording())
    return flac.write_flac(flac.Sound(heard.samples * np.float32(0.9), heard.rate))


async def post(client: httpx.AsyncClient, text: str, sound: bytes) -> httpx.Response:
    return await client.post(
        "/v1/jobs",
        data={"text": text},
        files={"recording": sound},
        headers={"X-Forwarded-For": address_of(MINE), "Idempotency-Key": "number-of-my-flat"},
    )


async def test_nothing_of_an_erased_person_lies_anywhere_and_everything_of_others_does(
    tmp_path: Path,
) -> None:
    settings = Settings(data=tmp_path)
    await prepare(settings)
    async with open_spine(settings) as spine, running(spine) as client:
        mine = str((await post(client, TEXTS[MINE], voice())).json()["job_id"])
        waits = await send(client, TEXTS["held"], MINE)
        theirs = await send(client, TEXTS[THEIRS], THEIRS)
        for fate, its, comes in ((MINE, mine, "delivered"), (THEIRS, theirs, "delivered")):
            await comes_to(client, fate, its, comes)
        await comes_to(client, MINE, waits, "held")
        (first,) = [r async for r in spine.log.read(["prompt-uploaded"], key=mine)]
        person = head_of(first).person
        objects = {stat.key: stat async for stat in spine.store.list("")}
        stored = {key: await spine.store.get(key) for key in objects}
        others = {data for key, data in stored.items() if str(person) not in key}
        needles = [data for data in stored.values() if data not in others]
        assert len(needles) >= 3, "recording, speech and audio: what was heard is the stand-in's"
        async with spine.database.reading() as tx:
            query = select(schema.person_keys.c.wrapped).where(
                schema.person_keys.c.person == person
            )
            needles.append(bytes((await tx.execute(query)).scalar_one()))
        needles.append(b"number-of-my-flat")
        assert all(places(tmp_path, needle) for needle in needles), "else a search proves nothing"
        words = [TEXTS[MINE], TEXTS["held"], address_of(MINE)]
        assert all(not places(tmp_path, word.encode()) for word in words)

        await begin(spine.database, spine.keys, settings.site, person, "rita")
        await rest(spine)
        await comes_to_failed(spine, UUID(waits))
        await until_certified(spine, person)
        # For a minute the door remembers whose the address was.
        assert (await post(client, "又是我。", voice())).status_code == 410

        for needle in (*needles, *(word.encode() for word in words)):
            assert places(tmp_path, needle) == []
        left = {stat.key async for stat in spine.store.list("")}
        assert left == {key for key in objects if str(person) not in key}
        theirs_told, mine_told = await told(spine, theirs), await told(spine, mine)
        assert theirs_told["personal"] == "open"
        assert theirs_told["steps"][0]["event"]["text"] == TEXTS[THEIRS]
        assert {each["is"] for each in theirs_told["objects"]} == {"kept"}
        assert mine_told["personal"] == "erased"
        assert (await told(spine, waits))["steps"][-1]["event"]["code"] == "erased"
        (said,) = await published(spine, 1)
        assert [each["statement"] for each in mine_told["erasures"]] == [said.statement]
        async with spine.database.transaction() as tx:
            assert await spine.keys.person_of_address(tx, address_of(MINE)) != person


async def told(spine: Spine, job: str) -> dict[str, Any]:
    found = await trail(spine, job)
    assert found is not None
    said: dict[str, Any] = json.loads(json.dumps(found.told))
    return said


async def comes_to_failed(spine: Spine, job: UUID) -> None:
    """The doors do not show it: whoever asks from its address is somebody else now."""
    async with asyncio.timeout(60):
        while True:
            async with spine.database.reading() as tx:
                query = select(schema.jobs.c.state).where(schema.jobs.c.id == job)
                if (await tx.execute(query)).scalar_one() == State.FAILED:
                    return
            await asyncio.sleep(0.05)


async def until_certified(spine: Spine, person: UUID) -> None:
    timer = Timer(spine.database, spine.keys, {ERASE: eraser(spine)})
    working = asyncio.create_task(timer.run())
    async with asyncio.timeout(60):
        while True:
            found = await state(spine.database, person)
            if found is not None and found.certificate:
                break
            await asyncio.sleep(0.05)
    timer.stop()
    await working


def dies(monkeypatch: pytest.MonkeyPatch, where: Any, name: str, times: int) -> None:
    """The process dies when it comes to `name` for that time."""
    was, left = getattr(where, name), times

    def deadly(*given: Any, **more: Any) -> Any:
        nonlocal left
        left -= 1
        if left == 0:
            raise Died
        return was(*given, **more)

    monkeypatch.setattr(where, name, deadly)


INSTANTS: dict[str, tuple[Any, str, int]] = {
    "the key is destroyed, nothing else": (disk.DiskStore, "list", 1),
    "objects are written down, none is gone": (disk.DiskStore, "delete", 1),
    "one object is gone": (disk.DiskStore, "delete", 2),
    "an object is half gone": (disk, "_empty", 4),
    "all is gone, nothing certified": (erasure, "certify", 1),
    "it is certified, and not published": (erasure, "event_of", 1),
}


@pytest.mark.parametrize("instant", INSTANTS)
async def test_a_second_run_finishes_what_a_death_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, instant: str
) -> None:
    async with opened(tmp_path) as spine:
        person, other = await live_person(spine), await live_person(spine)
        await begin(spine.database, spine.keys, spine.settings.site, person, "rita")
        row = await due_row(spine)
        with monkeypatch.context() as deadly:
            dies(deadly, *INSTANTS[instant])
            with pytest.raises(Died):
                await eraser(spine)(row)
    async with opened(tmp_path) as spine:
        await erase(spine, person)
        found = await state(spine.database, person)
        assert found is not None
        assert found.certificate is not None
        assert list(faults(found.certificate, signer(spine).public)) == []
        keys = [f"speech/{person}/{n}" for n in range(3)]
        assert [key for key, _, _ in found.certificate["objects"]] == keys
        assert places(tmp_path, f"of {person}".encode()) == []
        assert len(places(tmp_path, f"of {other}".encode())) == 3
        await erase(spine, person)
        (event,) = await published(spine, 1)
        assert event.statement == found.certificate["statement"]
        assert event.person == person


async def due_row(spine: Spine) -> Due:
    async with spine.database.reading() as tx:
        (row,) = (await tx.execute(select(schema.due).where(schema.due.c.kind == ERASE))).all()
    return Due(row.id, row.kind, row.at, None, row.payload)


async def test_a_death_before_the_key_is_destroyed_leaves_everything(
    spine: Spine, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = await live_person(spine)
    with monkeypatch.context() as deadly:
        dies(deadly, erasure, "_clear", 1)
        with pytest.raises(Died):
            await begin(spine.database, spine.keys, spine.settings.site, person, "rita")
    assert await spine.keys.key(person)
    assert await state(spine.database, person) is None
    assert len([s async for s in spine.store.list("speech/")]) == 3


async def test_what_somebody_made_who_still_knew_the_key_goes_before_the_certificate(
    spine: Spine,
) -> None:
    person = await live_person(spine)
    async with spine.database.transaction() as tx:
        await tx.execute(insert(schema.jobs).values(job(person, tx.now, State.APPROVED)))
    await begin(spine.database, spine.keys, spine.settings.site, person, "rita")
    row = await due_row(spine)
    assert isinstance(await eraser(spine, timedelta(hours=1))(row), Again)
    assert await spine.store.put(f"speech/{person}/late", b"late", "audio/x")
    assert isinstance(await eraser(spine)(row), Again), "its job has not ended"
    assert await spine.store.put(f"audio/{person}/later", b"later", "audio/x")
    async with spine.database.transaction() as tx:
        await tx.execute(update(schema.jobs).values(state=State.FAILED.value))
    assert isinstance(await eraser(spine)(row), Done)
    found = await state(spine.database, person)
    assert found is not None
    assert found.certificate is not None
    said = json.loads(found.certificate["statement"])
    assert said["kinds"] == {"audio": 1, "speech": 4}
    assert (said["jobs"], said["under_way"]) == (2, 0)
    assert [s.key async for s in spine.store.list("")] == []


async def test_a_job_that_never_ends_does_not_hold_the_certificate_for_ever(spine: Spine) -> None:
    person = await live_person(spine)
    async with spine.database.transaction() as tx:
        await tx.execute(insert(schema.jobs).values(job(person, tx.now, State.UPLOADED)))
    await begin(spine.database, spine.keys, spine.settings.site, person, "rita")
    patient = Eraser(
        spine.database, spine.store, "s", signer(spine), settled=AT_ONCE, patience=AT_ONCE
    )
    assert isinstance(await patient(await due_row(spine)), Done)
    found = await state(spine.database, person)
    assert found is not None
    assert found.certificate is not None
    assert json.loads(found.certificate["statement"])["under_way"] == 1


async def test_a_restored_database_learns_who_was_erased_since(spine: Spine) -> None:
    person, other = await live_person(spine), await live_person(spine)
    async with spine.database.reading() as tx:
        before = (
            await tx.execute(
                select(schema.person_keys).where(schema.person_keys.c.person == person)
            )
        ).one()
    await erase(spine, person)
    await published(spine, 1)
    assert await recall(spine.log, spine.database, spine.keys, "s") == 0
    async with spine.database.transaction() as tx:  # as the backup had it
        for table in (schema.erasures, schema.erased_objects, schema.due, schema.person_keys):
            mine = table.c.kind == ERASE if table is schema.due else table.c.person == person
            await tx.execute(delete(table).where(mine))
        await tx.execute(insert(schema.person_keys).values(**before._mapping))
    await spine.store.put(f"speech/{person}/back", b"from a backup", "audio/x")
    assert await spine.keys.key(person)
    assert await recall(spine.log, spine.database, spine.keys, "s") == 1
    with pytest.raises(PersonErased):
        await spine.keys.key(person)
    assert await spine.keys.key(other)
    await rest(spine)
    first, second = await published(spine, 2)
    assert first.person == second.person == person
    assert second.destroyed > first.destroyed
    topic = [r async for r in spine.log.read([topic_of(type(first))])]
    assert len({head_of(record).id for record in topic}) == 2
    assert len([s async for s in spine.store.list(f"speech/{person}")]) == 0


async def test_a_record_of_somebody_unknown_ends_once_they_are_erased(spine: Spine) -> None:
    message = uploaded(1, person=uuid4())
    record = Record(message.topic, 0, 0, message.key, message.value, message.headers, now(spine))
    person = head_of(record).person
    with pytest.raises(Unavailable, match="audit erase --user"):
        await spine.keys.key(person)
    waits = asyncio.Event()
    answering = asyncio.create_task(
        Answerer(Approving(), spine.keys, spine.health).answer(record, waits.set)
    )
    async with asyncio.timeout(60):
        await waits.wait()
        await erase(spine, person)
        answer = await answering
    (failed,) = answer.messages
    said = Record(failed.topic, 0, 1, failed.key, failed.value, failed.headers, now(spine))
    event = decode(said, head_of(said), None)
    assert isinstance(event, JobFailed)
    assert event.code == "erased"


def now(spine: Spine) -> Any:
    return spine.database.now()


async def test_nobody_is_no_person(spine: Spine) -> None:
    with pytest.raises(Misconfigured):
        await begin(spine.database, spine.keys, "s", UUID(int=0), "rita")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda said: said.pop("objects"), "no certificate"),
        (lambda said: said["objects"].pop(), "its list"),
        (lambda said: said["objects"][0].__setitem__(1, "0" * 64), "its list"),
        (
            lambda said: said.update(statement=said["statement"].replace('"jobs":1', '"jobs":0')),
            "w",
        ),
        (lambda said: said.update(key="00" * 32), "another key"),
    ],
)
async def test_a_certificate_that_was_changed_is_found_out(
    spine: Spine, change: Callable[[dict[str, Any]], object], why: str
) -> None:
    person = await live_person(spine)
    await erase(spine, person)
    found = await state(spine.database, person)
    assert found is not None
    assert found.certificate is not None
    key = signer(spine).public
    assert list(faults(found.certificate, key)) == []
    assert str(person) in found.certificate["statement"]
    change(found.certificate)
    assert any(why in each for each in faults(found.certificate, key))


def asked(*words: str, code: int = 0, given: str | None = None) -> str:
    done = CliRunner().invoke(app, list(words), input=given)
    assert done.exit_code == code, done.output
    return done.output


def test_a_person_is_erased_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOXRELAY_DATA", str(tmp_path))
    monkeypatch.setattr("voxrelay.audit_erase.Eraser", partial(Eraser, settled=AT_ONCE))

    async def made() -> UUID:
        async with opened(tmp_path) as spine:
            return await live_person(spine)

    person = str(asyncio.run(made()))
    assert "Nothing was erased" in asked("erase", "--user", person, given="n\n", code=1)
    assert "--unknown" in asked("erase", "--user", str(uuid4()), "--yes", code=1)
    file = tmp_path / "certificate.json"
    words = ("erase", "--user", person, "--yes", "--as", "rita", "-o", str(file), "--json")
    said = json.loads(asked(*words))
    assert said["objects"] == 3
    assert json.loads(file.read_text()) == said["certificate"]
    assert "rita" not in file.read_text()
    again = asked("erase", "--user", person, "--yes", "--json")
    assert json.loads(again)["certificate"] == said["certificate"]
    assert "As signed" in asked("certificate", str(file), "--trust", said["certificate"]["key"])
    file.write_text(file.read_text().replace('\\"jobs\\":1', '\\"jobs\\":0'))
    assert "not what was signed" in asked("certificate", str(file), code=3)
    assert "exists" in asked("erase", "--user", person, "--yes", "-o", str(file), code=1)
