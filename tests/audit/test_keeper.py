"""Hours are published once each as they close, and left with a witness that nobody can overrule."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from minio import Minio
from minio.commonconfig import COMPLIANCE
from minio.error import S3Error

from audit.archive import open_archive
from audit.export import export
from audit.keeper import EVERY, LOOK, Keeper, open_keeper
from audit.lines import HOUR, hour_of
from audit.roots import GRACE, Root, read_hour
from audit.settings import AuditSettings
from audit.signing import ROOT, Signer, load_signer, verified
from audit.testimony import ask
from audit.verify import verify
from audit.witness import Witness, name_of, open_witness
from infra.topics import apply
from relay.codec import decode, head_of
from relay.errors import Misconfigured, Unavailable
from relay.log.port import Message
from relay.outbox import Outbox
from relay.settings import Settings
from relay.spine import Spine, open_spine
from relay.sql.database import Database
from relay.timer import Timer
from schemas.events import AuditRootPublished
from schemas.topics import topic_of
from tests.servers import S3Address, unique

TOPIC = topic_of(AuditRootPublished)
START = hour_of(datetime.now(UTC))


@pytest.fixture(autouse=True)
def this_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another may have begun since this file was read."""
    monkeypatch.setitem(globals(), "START", hour_of(datetime.now(UTC)))


class Clock:
    """What the database takes for the time."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return load_signer(tmp_path / "audit.key", make=True)


@asynccontextmanager
async def opened(tmp_path: Path) -> AsyncIterator[Spine]:
    async with open_spine(Settings(data=tmp_path / "data")) as spine:
        await apply(spine.log, spine.settings)
        async with spine.log.source("outbox-0") as source:
            records = [Message("prompt-uploaded", f"job-{n}", b"{}") for n in range(5)]
            await source.append(records, source.position)
        yield spine


def timer(spine: Spine, signer: Signer, witness: Witness | None = None) -> Timer:
    keeper = Keeper(spine.log, spine.database, spine.settings.site, signer, witness)
    return Timer(spine.database, spine.keys, keeper.handlers, regularly={LOOK: EVERY})


async def do_all(timer: Timer, spine: Spine) -> None:
    await spine.database.run(timer._begin)
    while await timer.once():
        pass


async def published(spine: Spine, count: int) -> list[AuditRootPublished]:
    outbox = Outbox(spine.database, spine.log)
    running = asyncio.create_task(outbox.run())
    async with asyncio.timeout(60):
        found = 0
        async for _ in spine.log.read([TOPIC], follow=True):
            found += 1
            if found == count:
                break
    outbox.stop()
    await running
    events = [decode(r, head_of(r), None) async for r in spine.log.read([TOPIC])]
    return [event for event in events if isinstance(event, AuditRootPublished)]


def at(spine: Spine, clock: Clock, now: datetime) -> Database:
    clock.now = now
    spine.database._clock = clock
    return spine.database


async def test_every_hour_is_published_once_signed_and_as_an_export_would_say(
    tmp_path: Path, signer: Signer
) -> None:
    async with opened(tmp_path) as spine:
        clock = Clock()
        at(spine, clock, START + timedelta(minutes=30))
        await do_all(timer(spine, signer), spine)  # begins with the hour that closed last
        for late in (HOUR, HOUR, 3 * HOUR):
            at(spine, clock, clock.now + late)
            for _ in range(2):  # a second keeper finds nothing to do
                await do_all(timer(spine, signer), spine)
        events = sorted(await published(spine, 6), key=lambda event: event.hour)
        assert [event.hour for event in events] == [START + n * HOUR for n in range(-1, 5)]
        assert [event.records for event in events] == [0, 5, 0, 0, 0, 0]
        async with read_hour(spine.log, START) as hour:
            assert events[1].statement == hour.root(spine.settings.site).statement
        for event in events:
            said = event.statement.encode()
            assert verified(signer.public, ROOT, said, event.signature)
        keys = [r.key async for r in spine.log.read([TOPIC])]
        assert len(set(keys)) == 6, "compaction keeps one of each hour"


async def test_an_hour_is_not_published_before_it_has_closed(
    tmp_path: Path, signer: Signer
) -> None:
    async with opened(tmp_path) as spine:
        clock = Clock()
        at(spine, clock, START + GRACE - timedelta(seconds=1))
        await do_all(timer(spine, signer), spine)
        at(spine, clock, START + GRACE + EVERY)
        await do_all(timer(spine, signer), spine)
        (event,) = await published(spine, 1)
        assert event.hour == START - HOUR


async def test_what_was_published_is_archived_by_the_same_process(tmp_path: Path) -> None:
    async with opened(tmp_path) as spine:
        clock, archive = Clock(), open_archive(spine)
        at(spine, clock, START + timedelta(minutes=30))
        async with open_keeper(AuditSettings(archive=True))(spine) as (timer,):
            assert isinstance(timer, Timer)
            for late in (timedelta(0), HOUR):
                at(spine, clock, clock.now + late)
                await do_all(timer, spine)
            assert await archive.hours() == [], "nothing was published yet"
            await published(spine, 2)
            at(spine, clock, clock.now + EVERY)
            await do_all(timer, spine)
        archive = open_archive(spine)
        assert await archive.hours() == [START - HOUR, START]
        assert (await archive.root(START)).records == 5


# -- a witness ------------------------------------------------------------------------------------


@pytest.fixture
def settings(s3_server: S3Address) -> AuditSettings:
    """Of a bucket with a lock, on a real store."""
    bucket = unique("witness")
    client(s3_server).make_bucket(bucket, object_lock=True)
    return AuditSettings(
        witness=f"s3://{bucket}",
        witness_endpoint=f"http://{s3_server.endpoint}",
        witness_access_key=s3_server.access_key,
        witness_secret_key=s3_server.secret_key,
        witness_days=1,
    )


def client(server: S3Address) -> Minio:
    return Minio(
        server.endpoint,
        access_key=server.access_key,
        secret_key=server.secret_key,
        secure=False,
    )


async def test_published_roots_are_left_with_the_witness(
    tmp_path: Path, signer: Signer, settings: AuditSettings
) -> None:
    witness = open_witness(settings)
    assert witness is not None
    async with opened(tmp_path) as spine:
        clock = Clock()
        at(spine, clock, START + timedelta(minutes=30))
        await do_all(timer(spine, signer, witness), spine)
        at(spine, clock, clock.now + HOUR)
        await do_all(timer(spine, signer, witness), spine)
        for event in await published(spine, 2):
            root = Root(spine.settings.site, event.hour, event.records, event.root)
            held = await witness.holds(root)
            assert held is not None
            assert (held.statement, held.signature) == (event.statement, event.signature)
            assert held.locked is not None
            assert held.locked > datetime.now(UTC)


async def test_what_a_witness_holds_cannot_be_taken_back_or_overruled(
    signer: Signer, settings: AuditSettings, s3_server: S3Address
) -> None:
    witness = open_witness(settings)
    assert witness is not None
    root = Root("voxrelay://test", START, 5, "aa" * 32)
    await witness.leave(root, signer.public, "first")
    held = await witness.holds(root)
    await witness.leave(replace(root, records=6), signer.public, "second")
    witness._put(name_of(root), b'{"statement": "x", "key": "x", "signature": "x"}')
    assert await witness.holds(root) == held
    bucket = str(settings.witness).removeprefix("s3://")
    (*_, first) = client(s3_server).list_objects(bucket, recursive=True, include_version=True)
    with pytest.raises(S3Error):
        client(s3_server).remove_object(bucket, name_of(root), version_id=first.version_id)
    kept = client(s3_server).get_object_retention(bucket, name_of(root), first.version_id)
    assert kept is not None
    assert kept.mode == COMPLIANCE
    another = replace(root, hour=root.hour + HOUR)
    witness._put(name_of(another), b"[]")
    with pytest.raises(Unavailable, match="no root of ours"):
        await witness.holds(another)


async def test_while_the_witness_is_away_roots_are_published_and_shown_later(
    tmp_path: Path, signer: Signer, settings: AuditSettings
) -> None:
    witness = open_witness(settings)
    assert witness is not None
    away = open_witness(
        settings.model_copy(
            update={"witness_secret_key": None}
            | {"witness": "s3://nobodys", "witness_secret_key": settings.witness_secret_key}
        )
    )
    async with opened(tmp_path) as spine:
        clock = Clock()
        at(spine, clock, START + timedelta(minutes=30))
        await do_all(timer(spine, signer, away), spine)
        (event,) = await published(spine, 1)
        root = Root(spine.settings.site, event.hour, event.records, event.root)
        assert await witness.holds(root) is None
        at(spine, clock, clock.now + timedelta(seconds=10))
        await do_all(timer(spine, signer, witness), spine)
        assert await witness.holds(root) is not None


async def test_a_log_that_was_rewritten_and_signed_again_is_found_by_its_witness(
    tmp_path: Path, signer: Signer, settings: AuditSettings
) -> None:
    witness = open_witness(settings)
    assert witness is not None
    other = load_signer(tmp_path / "other.key", make=True)
    async with opened(tmp_path) as spine:
        hours = [START - HOUR, START]
        first = await export(spine, signer, hours, tmp_path / "first.tar")
        report = verify(first.path, signer.public)
        assert report.good, report.findings
        assert await ask(witness, report) == []
        await witness.leave(report.roots[1], signer.public, "s")
        (witnessed,) = await ask(witness, report)
        assert (witnessed.hour, report.good) == (START, True)
        assert witnessed.locked is not None
        async with spine.log.source("outbox-1") as source:
            late = Message("prompt-uploaded", "job-9", b"{}")
            await source.append([late], source.position)
        second = await export(spine, other, hours, tmp_path / "second.tar")
        forged = verify(second.path)
        assert forged.good, forged.findings
        assert await ask(witness, forged) == []
        assert [f.what for f in forged.findings] == ["not as witnessed"]


async def test_an_hour_that_is_not_as_it_was_published_is_found(
    tmp_path: Path, signer: Signer
) -> None:
    async with opened(tmp_path) as spine:
        clock = Clock()
        at(spine, clock, START + timedelta(minutes=30))
        await do_all(timer(spine, signer), spine)
        at(spine, clock, clock.now + HOUR)
        await do_all(timer(spine, signer), spine)
        await published(spine, 2)
        good = await export(spine, signer, [START], tmp_path / "first.tar")
        assert verify(good.path, signer.public).good
        async with spine.log.source("outbox-1") as source:
            late = Message("prompt-uploaded", "job-9", b"{}")
            await source.append([late], source.position)
        late_one = await export(spine, signer, [START], tmp_path / "second.tar")
        report = verify(late_one.path, signer.public)
        assert [f.what for f in report.findings] == ["not as published"]


async def test_a_witness_that_is_half_described_is_refused() -> None:
    with pytest.raises(Misconfigured, match="VOXRELAY_AUDIT_WITNESS_ENDPOINT"):
        open_witness(AuditSettings(witness="s3://bucket"))


async def test_a_bucket_without_a_lock_is_no_witness(
    signer: Signer, settings: AuditSettings, s3_server: S3Address
) -> None:
    bucket = unique("plain")
    client(s3_server).make_bucket(bucket)
    witness = open_witness(settings.model_copy(update={"witness": f"s3://{bucket}"}))
    assert witness is not None
    with pytest.raises(Unavailable):
        await witness.leave(Root("voxrelay://test", START, 5, "aa" * 32), signer.public, "x")
