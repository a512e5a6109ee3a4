"""Archived hours and topics are read as one log; an hour is archived once, whole, and proves it."""

from __future__ import annotations

import asyncio
import gzip
import random
import shutil
import sqlite3
import sys
import threading
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from fastapi import FastAPI

from audit.archive import Archive, ArchiveDamaged, NotAsPublished
from audit.archived import HOURS
from audit.doors import Who
from audit.export import export
from audit.history import History, with_archive
from audit.keeper import KEEP, LOOK, Keeper
from audit.lines import HOUR, hour_of, line_of, record_of
from audit.merkle import leaf as merkle_leaf
from audit.roots import Root, read_hour
from audit.settings import AuditSettings
from audit.signing import load_signer
from audit.verify import verify
from infra.topics import apply
from relay.errors import Misconfigured, Unavailable
from relay.log.port import Log, Message, Place, Record
from relay.objects.disk import DiskStore
from relay.objects.port import ObjectStore
from relay.process import EXIT_MISCONFIGURED
from relay.settings import Settings
from relay.spine import Spine, open_spine
from relay.sql.dues import Due
from schemas.envelope import format_time
from voxrelay.doors import furnish
from voxrelay.main import main

SITE = "voxrelay://local"
BEGIN = hour_of(datetime.now(UTC)) - 8 * HOUR
BUSY = ["prompt-uploaded", "prompt-approved"]
TOPICS = [*BUSY, "request-refused", "speech-rated"]
"""Read in these tests; the last one stays empty."""
FOR_GOOD = timedelta(days=36_500)


class Died(BaseException):
    """Stands for SIGKILL: nothing of ours catches it."""


def message(topic: str, n: int) -> Message:
    """With bytes that are no text here and there."""
    value = b"\xff\x00%d" % n if n % 7 == 0 else b'{"n": "%d \\u4f60\\n"}' % n
    return Message(topic, f"job-{n % 5}", value, (("ce_id", b"%d" % n), ("odd", b"\xfe")))


@asynccontextmanager
async def opened(data: Path) -> AsyncIterator[Spine]:
    async with open_spine(Settings(data=data)) as spine:
        yield spine


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder whose log has records of six hours, the fourth without any."""
    data = tmp_path_factory.mktemp("made")

    async def make() -> None:
        async with opened(data) as spine:
            await apply(spine.log, spine.settings)
            async with spine.log.source("outbox-0") as source:
                for n in range(120):
                    topic = TOPICS[n % 5 // 2]
                    await source.append([message(topic, n)], source.position + 1)

    asyncio.run(make())
    shift(data)
    return data


def shift(data: Path) -> None:
    """Let the log have taken its records in the course of six hours, twenty in each."""
    begin = int(BEGIN.timestamp()) * 1_000_000
    with closing(sqlite3.connect(data / "log.db")) as line, line:
        rows = [rowid for (rowid,) in line.execute("select rowid from batches order by rowid")]
        for n, rowid in enumerate(rows):
            hour, minute = divmod(n * 6, len(rows))
            hour += hour >= 3
            at = begin + (hour * 3600 + minute * 3600 // len(rows)) * 1_000_000
            line.execute("update batches set appended = ? where rowid = ?", [at, rowid])


@pytest.fixture
async def spine(made: Path, tmp_path: Path) -> AsyncIterator[Spine]:
    shutil.copytree(made, tmp_path / "data")
    async with opened(tmp_path / "data") as found:
        yield found


def archive_of(store: ObjectStore) -> Archive:
    return Archive(store, FOR_GOOD)


async def root_of(log: Log, hour: datetime) -> Root:
    async with read_hour(log, hour) as read:
        return read.root(SITE)


async def archive_all(log: Log, store: ObjectStore, hours: int = 7) -> list[Root]:
    archive = archive_of(store)
    roots = [await root_of(log, BEGIN + n * HOUR) for n in range(hours)]
    for root in roots:
        assert await archive.add(log, root)
        assert not await archive.add(log, root), "it lies there"
    return roots


def drop(spine: Spine, before: Mapping[Place, int] | None) -> None:
    """What retention does: of each partition the records before an offset; None: all."""
    with closing(sqlite3.connect(spine.settings.data / "log.db")) as line, line:
        places = line.execute(
            "select p.id, t.name, p.number from partitions p join topics t on t.id = p.topic"
        ).fetchall()
        for id_, topic, number in places:
            end = before.get((topic, number), 0) if before is not None else 1 << 40
            line.execute("delete from batches where partition = ? and last < ?", [id_, end])


def by_place(records: Iterable[Record]) -> dict[Place, list[Record]]:
    found = defaultdict[Place, list[Record]](list)
    for record in records:
        found[record.topic, record.partition].append(record)
    return dict(found)


async def contents(store: ObjectStore) -> dict[str, bytes]:
    return {stat.key: await store.get(stat.key) async for stat in store.list("archive/")}


# -- one log --------------------------------------------------------------------------------------


def test_a_line_keeps_every_byte_of_a_record() -> None:
    odd = Record("t", 1, 9, "\udcffk", b"\x00\xff", (("a", b"\xfe"), ("a", b"")), BEGIN)
    plain = replace(odd, key="k", value='{"é": "\n\u2028"}'.encode(), headers=())
    for record in (odd, plain):
        assert record_of(line_of(record)) == record
    with pytest.raises(ValueError, match="not a line"):
        record_of(b"[]")


@pytest.mark.parametrize("seed", range(4))
async def test_archive_and_topics_are_one_log_wherever_the_topics_begin(
    spine: Spine, seed: int
) -> None:
    draw = random.Random(seed)
    log, whole = spine.log, by_place([r async for r in spine.log.read(TOPICS)])
    assert sum(map(len, whole.values())) == 120
    await archive_all(log, spine.store)
    some = BEGIN + timedelta(minutes=draw.randrange(400))
    later = some + timedelta(minutes=draw.randrange(200))
    starts = {place: draw.choice(records).offset for place, records in whole.items()}
    start = dict(draw.sample(sorted(starts.items()), 3))
    questions: list[dict[str, object]] = [
        {},
        {"since": some},
        {"until": later},
        {"since": some, "until": later},
        {"since": some.astimezone(timezone(timedelta(hours=5, minutes=30))), "until": later},
        {"since": BEGIN + 2 * HOUR, "until": BEGIN + 3 * HOUR},
        {"key": "job-3"},
        {"key": "job-3", "since": some},
        {"start": start},
        {"start": start, "since": some, "until": later},
        {"start": await log.ends(TOPICS)},
        {"numbers": {0}, "since": some},
    ]
    wanted = [by_place([r async for r in log.read(TOPICS, **asked)]) for asked in questions]  # type: ignore[arg-type]
    cut = {place: draw.choice(records).offset for place, records in whole.items()}
    cuts: list[Mapping[Place, int] | None] = [{}, cut, None]
    for dropped in cuts:
        drop(spine, dropped)
        history = History(log, archive_of(spine.store))
        for asked, want in zip(questions, wanted, strict=True):
            found = by_place([r async for r in history.read(TOPICS, **asked)])  # type: ignore[arg-type]
            assert found == want, (asked, dropped)
    assert not [r async for r in log.read(TOPICS)], "else nothing was read from the archive"


async def test_what_both_hold_is_not_read_from_the_archive(spine: Spine) -> None:
    await archive_all(spine.log, spine.store)
    whole = by_place([r async for r in spine.log.read(TOPICS)])
    cut = {place: records[3].offset for place, records in whole.items()}  # all of the first hour
    drop(spine, cut)
    store = Told(spine.store)
    history = History(spine.log, archive_of(store))
    assert by_place([r async for r in history.read(TOPICS)]) == whole
    read = {key.rpartition("/")[2][:13] for key in store.got}
    assert read
    assert read <= {f"{BEGIN + n * HOUR:%Y-%m-%dT%H}" for n in range(2)}
    store.got.clear()
    late = [r async for r in history.read(TOPICS, BEGIN + 5 * HOUR)]
    assert late
    assert [key.split("/")[1] for key in store.got] == ["hours"], "one, to know that it is enough"


async def test_what_is_dropped_while_it_is_read_is_told(spine: Spine) -> None:
    whole = by_place([r async for r in spine.log.read(TOPICS)])
    *_, last = whole
    history, seen = History(spine.log, archive_of(spine.store)), list[Record]()

    async def read() -> None:
        async for record in history.read(TOPICS):
            if not seen:
                drop(spine, {last: whole[last][2].offset})
            seen.append(record)

    with pytest.raises(Unavailable, match="read it again"):
        await read()
    assert len(seen) == 120 - 2
    assert len([r async for r in history.read(TOPICS)]) == 120 - 2


class Told:
    """A store that remembers what was read, and may die while it is written."""

    def __init__(self, store: ObjectStore, puts: int = 1_000) -> None:
        self._store, self._puts = store, puts
        self.got: list[str] = []
        self.made: list[str] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    async def get(self, key: str) -> bytes:
        self.got.append(key)
        return await self._store.get(key)

    async def put(self, key: str, data: bytes, content_type: str) -> bool:
        if self._puts == 0:
            raise Died
        self._puts -= 1
        if new := await self._store.put(key, data, content_type):
            self.made.append(key)
        return new


# -- written once ---------------------------------------------------------------------------------


async def test_whoever_is_killed_at_any_put_leaves_what_the_next_one_completes(
    spine: Spine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("audit.archive._PART_BYTES", 500)  # so that a topic has several
    await archive_all(spine.log, spine.store, 2)
    whole = await contents(spine.store)
    assert len(whole) > 10
    async with open_spine(Settings(data=tmp_path / "other")) as other:
        made, deaths = list[str](), 0
        while True:
            store = Told(other.store, puts=deaths + 1)
            try:
                for n in range(2):
                    root = await root_of(spine.log, BEGIN + n * HOUR)
                    await archive_of(store).add(spine.log, root)
            except Died:
                deaths += 1
                assert not await half_hours(other.store, whole), "an hour is whole, or not there"
                made += store.made
                continue
            break
        made += store.made
        assert deaths > 5
        assert await contents(other.store) == whole
        assert sorted(made) == sorted(whole), "each was put once"


async def half_hours(store: ObjectStore, whole: Mapping[str, bytes]) -> list[str]:
    """Hours that are listed while a part of theirs is lacking."""
    there = (await contents(store)).keys()
    listed = [key.rpartition("/")[2] for key in there if key.startswith(HOURS)]
    return [h for h in listed if any(h in key and key not in there for key in whole)]


async def test_an_hour_that_is_not_as_published_is_not_archived(spine: Spine) -> None:
    root = await root_of(spine.log, BEGIN)
    whole = by_place([r async for r in spine.log.read(TOPICS, BEGIN, until=BEGIN + HOUR)])
    place, records = max(whole.items(), key=lambda each: len(each[1]))
    drop(spine, {place: records[-1].offset})
    left = root.records - len(records) + 1
    with pytest.raises(NotAsPublished, match=f"{left} of {root.records} records"):
        await archive_of(spine.store).add(spine.log, root)
    assert await contents(spine.store) == {}


async def test_the_root_is_the_same_from_the_archive_and_a_bundle_of_it_verifies(
    spine: Spine, tmp_path: Path
) -> None:
    signer = load_signer(tmp_path / "audit.key", make=True)
    hours = [BEGIN + n * HOUR for n in range(7)]
    live = await export(spine, signer, hours, tmp_path / "live.tar")
    roots = await archive_all(spine.log, spine.store)
    drop(spine, None)
    history = replace(spine, log=History(spine.log, archive_of(spine.store)))
    assert [await root_of(history.log, hour) for hour in hours] == roots
    assert [await archive_of(spine.store).root(hour) for hour in hours] == roots
    assert sum(root.records for root in roots) == live.records == 120
    later = await export(history, signer, hours, tmp_path / "later.tar")
    assert later.path.read_bytes() == live.path.read_bytes()
    assert verify(later.path, signer.public).good
    assert (await root_of(spine.log, BEGIN)).records == 0, "the topics alone have nothing"


# -- damage ---------------------------------------------------------------------------------------


def hour_key(n: int) -> str:
    return f"{HOURS}{BEGIN + n * HOUR:%Y-%m-%dT%H}"


async def part_key(store: ObjectStore, n: int) -> str:
    prefix = f"archive/records/{BEGIN + n * HOUR:%Y-%m-%dT%H}."
    return min([stat.key async for stat in store.list(prefix)])


async def harmed(store: ObjectStore, harm: str) -> None:
    """Do something to the second hour."""
    key = hour_key(1) if "hour" in harm else await part_key(store, 1)
    data = await store.get(key)
    await store.delete(key)
    if harm == "hour altered":
        await store.put(key, data.replace(b'"ends":{', b'"ends":{ '), "application/json")
    elif harm == "hour exchanged":
        await store.put(key, await store.get(hour_key(2)), "application/json")
    elif harm == "part altered":
        lines = gzip.decompress(data).replace(b"job-", b"jab-")
        await store.put(key, gzip.compress(lines), "application/gzip")
    elif harm == "part cut short":
        await store.put(key, data[: len(data) // 2], "application/gzip")
    elif harm == "part is junk":
        await store.put(key, b"junk", "application/gzip")


HARMS = (
    *("hour gone", "hour altered", "hour exchanged"),
    *("part gone", "part altered", "part cut short", "part is junk"),
)


@pytest.mark.parametrize("harm", HARMS)
async def test_a_damaged_hour_is_named_with_what_to_do_and_hides_no_other(
    spine: Spine, harm: str
) -> None:
    whole = [r async for r in spine.log.read(TOPICS)]
    await archive_all(spine.log, spine.store)
    await harmed(spine.store, harm)
    drop(spine, None)
    history = History(spine.log, archive_of(spine.store))
    for since, until in ((None, None), (BEGIN + HOUR, BEGIN + 2 * HOUR)):
        with pytest.raises(ArchiveDamaged, match="copy of the object store") as why:
            _ = [r async for r in history.read(TOPICS, since, until=until)]
        assert why.value.hour == BEGIN + HOUR
        assert "VOXRELAY_AUDIT_ARCHIVE=false" in str(why.value)
    late = [r async for r in history.read(TOPICS, BEGIN + 2 * HOUR)]
    assert by_place(late) == by_place(r for r in whole if r.appended >= BEGIN + 2 * HOUR)
    early = [r async for r in history.read(TOPICS, until=BEGIN + HOUR)]
    assert by_place(early) == by_place(r for r in whole if r.appended < BEGIN + HOUR)


async def test_damage_is_told_with_its_code_by_a_command_and_at_a_door(
    spine: Spine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    await archive_all(spine.log, spine.store)
    await harmed(spine.store, "hour gone")
    drop(spine, None)
    monkeypatch.setenv("VOXRELAY_AUDIT_ARCHIVE", "true")
    monkeypatch.setenv("VOXRELAY_DATA", str(spine.settings.data))
    door = FastAPI()
    furnish(door, spine)
    door.state.porter = Anybody()
    transport = httpx.ASGITransport(app=door)
    async with httpx.AsyncClient(transport=transport, base_url="http://relay") as client:
        answer = await client.get("/v1/audit/jobs")
    assert (answer.status_code, answer.json()["code"]) == (503, "archive_damaged")
    assert format_time(BEGIN + HOUR) in answer.json()["detail"]
    monkeypatch.setattr(sys, "argv", ["voxrelay", "audit", "trail"])
    with pytest.raises(SystemExit) as ended:
        await asyncio.to_thread(main)
    assert ended.value.code == EXIT_MISCONFIGURED
    told = capsys.readouterr().err
    assert told.startswith("voxrelay: archive_damaged: the archive of the hour")
    assert "cannot start" not in told


class Anybody:
    """A porter who lets everybody in."""

    async def who(self, *_: object) -> Who:
        return Who("rita")


async def test_hours_are_hashed_beside_the_loop(
    spine: Spine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A probe of readiness must not wait for millions of records."""
    threads = set[int]()

    def leaf(data: bytes) -> bytes:
        threads.add(threading.get_ident())
        return merkle_leaf(data)

    monkeypatch.setattr("audit.merkle.leaf", leaf)
    root = await root_of(spine.log, BEGIN)
    threads.clear()
    archive = archive_of(spine.store)
    assert await archive.add(spine.log, root)
    assert await archive.root(BEGIN) == root
    assert threads
    assert threading.get_ident() not in threads


async def test_what_was_dropped_before_it_was_archived_is_told(spine: Spine) -> None:
    history = History(spine.log, archive_of(spine.store))
    whole = by_place([r async for r in spine.log.read(TOPICS)])
    drop(spine, {place: records[2].offset for place, records in whole.items()})
    kept = by_place([r async for r in spine.log.read(TOPICS)])
    assert by_place([r async for r in history.read(TOPICS)]) == kept != whole, "no archive yet"
    roots = await archive_all(spine.log, spine.store, 2)
    assert sum(root.records for root in roots) > 0
    drop(spine, None)
    history = History(spine.log, archive_of(spine.store))
    with pytest.raises(Misconfigured, match="the last that was archived"):
        _ = [r async for r in history.read(TOPICS)]


async def test_an_hour_that_was_left_out_is_no_end_of_what_is_archived(spine: Spine) -> None:
    archive = archive_of(spine.store)
    for n in (0, 1, 4, 5, 6):
        assert await archive.add(spine.log, await root_of(spine.log, BEGIN + n * HOUR))
    whole = [r async for r in spine.log.read(TOPICS)]
    drop(spine, None)
    found = [r async for r in History(spine.log, archive).read(TOPICS, until=BEGIN + 4 * HOUR)]
    assert by_place(found) == by_place(r for r in whole if r.appended < BEGIN + 2 * HOUR)


async def test_an_hour_that_was_swept_is_not_missed(spine: Spine) -> None:
    await archive_all(spine.log, spine.store)
    drop(spine, None)
    for n in range(2):
        for key in await contents(spine.store):
            if f"{BEGIN + n * HOUR:%Y-%m-%dT%H}" in key:
                await spine.store.delete(key)
    age = datetime.now(UTC) - BEGIN - HOUR
    found = [r async for r in History(spine.log, Archive(spine.store, age)).read(TOPICS)]
    assert found
    assert min(r.appended for r in found) >= BEGIN + 2 * HOUR


# -- the keeper -----------------------------------------------------------------------------------


async def test_the_keeper_archives_what_was_published_hour_after_hour(
    spine: Spine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signer = load_signer(tmp_path / "audit.key", make=True)
    said = dict[datetime, Root]()

    async def published(_: Log, site: str, since: datetime | None) -> Mapping[datetime, Root]:
        return {hour: root for hour, root in said.items() if since is None or hour >= since}

    monkeypatch.setattr("audit.keeper.published", published)
    archive = archive_of(spine.store)
    keeper = Keeper(spine.log, spine.database, SITE, signer, None, archive)
    assert set(keeper.regularly) == {LOOK, KEEP}
    row = Due(uuid4(), KEEP, spine.database.now())
    assert (await keeper.keep(row)).payload is None, "nothing was published yet"
    for n in (0, 1, 3):
        said[BEGIN + n * HOUR] = await root_of(spine.log, BEGIN + n * HOUR)
    row = replace(row, payload=(await keeper.keep(row)).payload or {})
    assert await archive.hours() == [BEGIN, BEGIN + HOUR], "the third is waited for"
    late = archive_of(DiskStore(tmp_path / "late"))
    age = spine.database.now() - BEGIN
    await replace(keeper, archive=late, held=age).keep(replace(row, payload={}))
    assert await late.hours() == [BEGIN + HOUR], "the first may have lost records by now"
    said[BEGIN + 2 * HOUR] = await root_of(spine.log, BEGIN + 2 * HOUR)
    said[BEGIN + 4 * HOUR] = replace(said[BEGIN], hour=BEGIN + 4 * HOUR)
    said[BEGIN + 5 * HOUR] = await root_of(spine.log, BEGIN + 5 * HOUR)
    row = replace(row, payload=(await keeper.keep(row)).payload or {})
    hours = [BEGIN + n * HOUR for n in (0, 1, 2, 3, 5)]
    assert await archive.hours() == hours, "one that is not as published is left out"
    before = await contents(spine.store)
    assert (await keeper.keep(replace(row, payload={}))).payload == row.payload
    assert await contents(spine.store) == before
    assert [(await archive.hour(h)).after for h in hours] == [None, *hours[:-1]]


async def test_without_the_setting_nothing_is_archived(spine: Spine, tmp_path: Path) -> None:
    assert not AuditSettings().archive
    signer = load_signer(tmp_path / "audit.key", make=True)
    keeper = Keeper(spine.log, spine.database, SITE, signer)
    assert KEEP not in {*keeper.regularly, *keeper.handlers}
    assert with_archive(spine, AuditSettings()) is spine
    assert isinstance(with_archive(spine, AuditSettings(archive=True)).log, History)
