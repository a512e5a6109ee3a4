"""A relay that has lived and whose topics have dropped all: its jobs are told, on both logs."""

from __future__ import annotations

import asyncio
import gzip
import json
import shutil
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from fastapi import FastAPI
from pydantic import SecretStr
from typer.testing import CliRunner

from audit.doors import Who
from audit.export import export
from audit.history import with_archive
from audit.lines import HOUR, hour_of
from audit.roots import COVERED, Root
from audit.settings import AuditSettings
from audit.signing import load_signer
from audit.trail import trail
from audit.verify import verify
from infra.servers import kafka
from infra.topics import apply
from relay.codec import encode
from relay.log.port import Message, Place, Record
from relay.objects.s3 import S3Store
from relay.settings import Settings
from relay.spine import Spine, open_spine
from schemas.envelope import Head, format_time
from schemas.events import AuditRootPublished
from tests.audit.relay import TEXTS, Lived, erase
from tests.audit.test_archive import SITE, archive_of, contents, drop, root_of
from tests.servers import S3Address, unique
from voxrelay.audit import app
from voxrelay.doors import furnish


class Past:
    """A copy of a relay that has lived, all hours of its log archived."""

    def __init__(self, house: Lived, data: Path) -> None:
        shutil.copytree(house.settings.data, data)
        self.jobs, self.settings = house.jobs, house.settings.model_copy(update={"data": data})
        self.hours = [hour_of(datetime.now(UTC)) + n * HOUR for n in range(-1, 2)]

    async def keep(self, spine: Spine) -> None:
        for hour in self.hours:
            assert await archive_of(spine.store).add(spine.log, await root_of(spine.log, hour))


async def told(spine: Spine, job: str) -> dict[str, Any]:
    found = await trail(spine, job)
    assert found is not None
    return found.told


async def test_the_trail_is_whole_though_the_topics_have_dropped_everything(
    lived: Lived, tmp_path: Path
) -> None:
    past = Past(lived, tmp_path / "data")
    async with open_spine(past.settings) as spine:
        before = {fate: await told(spine, job) for fate, job in past.jobs.items()}
        await past.keep(spine)
        drop(spine, None)
        history = with_archive(spine, AuditSettings(archive=True))
        for fate, job in past.jobs.items():
            assert await told(history, job) == before[fate]
            assert not (await told(spine, job))["steps"], "else the archive was not needed"


class Anybody:
    """A porter who lets everybody in."""

    async def who(self, *_: object) -> Who:
        return Who("rita")


async def test_the_doors_tell_what_was_archived_and_queues_do_not(
    lived: Lived, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    past = Past(lived, tmp_path / "data")
    monkeypatch.setenv("VOXRELAY_AUDIT_ARCHIVE", "true")
    async with open_spine(past.settings) as spine:
        before = await told(spine, past.jobs["stuck"])
        await past.keep(spine)
        app_ = FastAPI()
        furnish(app_, spine)
        app_.state.porter = Anybody()
        transport = httpx.ASGITransport(app=app_)
        async with httpx.AsyncClient(transport=transport, base_url="http://relay") as client:
            assert len((await client.get("/v1/dead")).json()["letters"]) == 1
            drop(spine, None)
            answer = await client.get(f"/v1/audit/trail/{past.jobs['stuck']}")
            assert answer.json() == before
            found = (await client.get("/v1/audit/jobs", params={"verdict": "rejected"})).json()
            assert past.jobs["rejected"] in [each["job"] for each in found["found"]]
            assert (await client.get("/v1/dead")).json()["letters"] == []


async def test_who_is_erased_is_erased_in_the_archive_and_nobody_else(
    lived: Lived, tmp_path: Path
) -> None:
    past = Past(lived, tmp_path / "data")
    mine, theirs = past.jobs["rejected"], past.jobs["delivered"]
    async with open_spine(past.settings) as spine:
        await past.keep(spine)
        lies = b"".join(
            [gzip.decompress(d) for k, d in (await contents(spine.store)).items() if "records" in k]
        )
        assert mine.encode() in lies
        assert all(text.encode() not in lies for text in TEXTS.values()), "sealed, as in the topics"
        drop(spine, None)
        history = with_archive(spine, AuditSettings(archive=True))
        assert (await told(history, mine))["steps"][0]["event"]["text"] == TEXTS["rejected"]
        kept = await told(history, theirs)
        await erase(history, mine)
    async with open_spine(past.settings) as spine:  # which remembers no key
        history = with_archive(spine, AuditSettings(archive=True))
        gone = await told(history, mine)
        assert gone["personal"] == "erased"
        assert gone["steps"][0]["event"]["text"] == {"erased": True}
        assert await told(history, theirs) == kept


def test_commands_read_the_archive_where_the_setting_says_so(
    lived: Lived, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    past = Past(lived, tmp_path / "data")
    monkeypatch.setenv("VOXRELAY_DATA", str(past.settings.data))
    job, never = past.jobs["delivered"], past.hours[0] - HOUR
    asked = (
        *(["trail", job, "--json"], ["trail", "--since", "1d", "--json"]),
        *(["trail", "--refused", "--json"], ["replay", "--json"]),
    )
    before = [said(*words) for words in asked]
    assert json.loads(before[-1])["judged"] == len(TEXTS) - 1

    async def publish() -> None:
        async with open_spine(past.settings) as spine:
            roots = [await root_of(spine.log, hour) for hour in past.hours]
            await append_roots(
                spine, [*roots, replace(roots[0], hour=past.hours[0] - HOUR, records=9)]
            )

    asyncio.run(publish())
    added = json.loads(said("archive", "add", "--json"))
    assert added == {
        "hours": 3,
        "wrong": {format_time(past.hours[0] - HOUR): "the log has 0 of 9 records"},
    }
    assert "0 hours" in said("archive", "add")
    listed = json.loads(said("archive", "list", "--json"))
    assert listed["hours"] == 3
    assert [each["hours"] for each in listed["archived"]] == [3]
    assert [each["from"] for each in listed["lacking"]] == [format_time(never)]

    async def forget() -> None:
        async with open_spine(past.settings) as spine:
            drop(spine, None)

    asyncio.run(forget())
    assert not json.loads(said(*asked[0]))["steps"], "the topics alone have nothing"
    monkeypatch.setenv("VOXRELAY_AUDIT_ARCHIVE", "true")
    assert [said(*words) for words in asked] == before
    assert "3 hours are whole" in said("archive", "check")
    (damaged,) = (past.settings.data / "objects/archive/hours").glob(f"{past.hours[1]:%Y-%m-%dT%H}")
    shutil.rmtree(damaged)
    assert json.loads(said("archive", "check", "--json", code=3))["wrong"] == {
        format_time(past.hours[1]): "it is gone"
    }


def said(*words: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code == code, done.output
    return done.output


async def append_roots(spine: Spine, roots: Sequence[Root]) -> None:
    """Publish what a keeper would have, whether or not the hours have closed."""
    async with spine.log.source("outbox-0") as source:
        for root in roots:
            event = AuditRootPublished(
                hour=root.hour,
                records=root.records,
                root=root.root,
                statement=root.statement,
                key="",
                signature="",
            )
            head = Head(uuid4(), event.TYPE, SITE, root.hour, UUID(int=0), format_time(root.hour))
            await source.append([encode(event, head, None)], source.position + 1)


async def test_on_kafka_and_s3_with_trimmed_topics_the_trail_is_whole(
    lived: Lived, s3_server: S3Address, tmp_path: Path
) -> None:
    past = Past(lived, tmp_path / "data")
    signer = load_signer(tmp_path / "audit.key", make=True)
    with kafka(tmp_path / "kafka") as server:
        settings = moved(past.settings, server.bootstrap, s3_server)
        async with open_spine(past.settings) as old, open_spine(settings) as spine:
            await move(old, spine)
            records = [r async for r in spine.log.read(COVERED)]
            past.hours = sorted({hour_of(record.appended) for record in records})
            jobs = [past.jobs[fate] for fate in ("approved", "stuck", "erased")]
            before = [await told(spine, job) for job in jobs]
            for job, said_ in zip(jobs, before, strict=True):
                steps = [step["topic"] for step in (await told(old, job))["steps"]]
                assert [step["topic"] for step in said_["steps"]] == steps
            live = await export(spine, signer, past.hours, tmp_path / "live.tar")
            await past.keep(spine)
            await trim(server.bootstrap, await spine.log.ends(COVERED))
            assert not [r async for r in spine.log.read(COVERED)]
            history = with_archive(spine, AuditSettings(archive=True))
            assert [await told(history, job) for job in jobs] == before
            later = await export(history, signer, past.hours, tmp_path / "later.tar")
            assert later.records == live.records == len(records) > 30
            assert later.path.read_bytes() == live.path.read_bytes()
            assert verify(later.path, signer.public).good
            await half_and_half(spine, history, records)


async def half_and_half(spine: Spine, history: Spine, archived: Sequence[Record]) -> None:
    """What comes after the archived hours is read behind them, each once."""
    ends = await spine.log.ends(COVERED)
    async with spine.log.source("outbox-0") as source:
        again = [Message(r.topic, r.key, r.value, r.headers) for r in archived[:5]]
        await source.append(again, source.position + 1)
    both = [place(r) async for r in history.log.read(COVERED)]
    assert len(both) == len(set(both)) == len(archived) + 5
    assert set(both) > {place(r) for r in archived}
    late = [place(r) async for r in history.log.read(COVERED, start=ends)]
    assert set(late) == set(both) - {place(r) for r in archived}


def place(record: Record) -> tuple[str, int, int]:
    return record.topic, record.partition, record.offset


def moved(settings: Settings, bootstrap: str, s3: S3Address) -> Settings:
    """The same relay, its log on Kafka and its objects in a bucket."""
    changed = {
        "log": f"kafka://{bootstrap}",
        "partitions": 2,
        "master_key_file": settings.data / "master.key",
        "objects": f"s3://{unique('archive')}",
        "s3_endpoint": f"http://{s3.endpoint}",
        "s3_access_key": s3.access_key,
        "s3_secret_key": SecretStr(s3.secret_key),
    }
    return settings.model_copy(update=changed)


async def move(old: Spine, new: Spine) -> None:
    """Take records and objects from the one to the other, as they are."""
    assert isinstance(new.store, S3Store)
    await new.store.create_bucket()
    async for stat in old.store.list(""):
        await new.store.put(stat.key, await old.store.get(stat.key), "application/octet-stream")
    await apply(new.log, new.settings)
    records = sorted([r async for r in old.log.read(COVERED)], key=lambda r: r.appended)
    async with new.log.source("outbox-0") as source:
        waves, seen = defaultdict[int, list[Message]](list), Counter[str]()
        for r in records:  # of each job one at a time, so that they come in its order
            waves[seen[r.key]].append(Message(r.topic, r.key, r.value, r.headers))
            seen[r.key] += 1
        for n, wave in waves.items():
            await source.append(wave, n + 1)


async def trim(bootstrap: str, ends: Mapping[Place, int]) -> None:
    """What retention does, now."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        doomed = {TopicPartition(*place): RecordsToDelete(end) for place, end in ends.items()}
        await admin.delete_records(doomed)
    finally:
        await admin.close()
