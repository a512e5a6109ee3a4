"""What the doors turn away leaves a trace that says nothing of it, is bounded, and adds up."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import delete, func, select
from starlette.requests import HTTPConnection
from typer.testing import CliRunner

from infra.topics import apply
from ingest.problems import Problem
from ingest.refusals import SHARE, Refusals
from relay.codec import decode, head_of
from relay.errors import Unavailable
from relay.log.open import open_log
from relay.log.port import Record
from relay.outbox import Outbox
from relay.settings import Settings
from relay.sql.database import Database
from relay.sql.keys import SqlKeyStore
from relay.sql.master import MasterKey
from relay.sql.schema import outbox, person_keys, persons
from relay.sql.shards import _headers
from schemas.events import RequestRefused
from schemas.topics import topic_of
from tests.ingest.conftest import House, house
from voxrelay.audit import app as audit

TOPIC = topic_of(RequestRefused)
TEXT = "my most secret words"


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def tracing(gateway: House, per_minute: int = 60) -> Refusals:
    """Let the gateway tell its refusals to one that can be asked."""
    refusals = Refusals(gateway.database, gateway.keys, "voxrelay://test", per_minute)
    state = gateway.app.state
    state.gateway = replace(state.gateway, refusals=refusals)
    return refusals


async def told(database: Database) -> list[tuple[UUID, RequestRefused]]:
    """What waits in the outbox of refusals, and whose it is."""
    async with database.reading() as tx:
        rows = (await tx.execute(select(outbox).where(outbox.c.topic == TOPIC))).all()
    found = []
    for row in rows:
        record = Record(TOPIC, 0, 0, row.key, row.value, _headers(row.headers), database.now())
        head = head_of(record)
        assert head.key == str(head.person)
        event = decode(record, head, None)
        assert isinstance(event, RequestRefused)
        assert TEXT.encode() not in row.value
        found.append((head.person, event))
    return found


async def test_every_refusal_tells_code_size_and_a_hash_that_nobody_can_guess(
    tmp_path: Path,
) -> None:
    async with house(tmp_path, max_body=2_000, trusted_proxies="127.0.0.1") as gateway:
        refusals = tracing(gateway)
        async with gateway.client("192.0.2.1") as client:
            broken = f'{{"text": "{TEXT}"'
            assert (await client.post("/tts", content=broken)).status_code == 400
            assert (await client.post("/tts", content=broken)).status_code == 400
            assert (await client.post("/v1/jobs", json={"text": TEXT})).status_code in (400, 422)
            assert (await client.post("/v1/jobs", content=b"x" * 3_000)).status_code == 413
            assert (await client.get("/nothing")).status_code == 404
            assert (await client.get("/healthz")).status_code == 200
        async with gateway.database.transaction() as tx:
            person = await gateway.keys.person_of_address(tx, "192.0.2.1")
            stranger = await gateway.keys.alias(tx, "192.0.2.99")
            assert await gateway.keys.alias(tx, "192.0.2.99") == stranger != person
        await refusals.flush()
        found = await told(gateway.database)
    assert {whose for whose, _ in found} == {person}
    events = [event for _, event in found]
    assert [event.status for event in events][:2] == [400, 400]
    assert [event.door for event in events] == ["/tts", "/tts", "/v1/jobs", "/v1/jobs"]
    first, second, fields, large = events
    assert first.size == second.size == len(broken)
    assert first.body == second.body is not None
    assert fields.body not in (None, first.body)
    assert (large.status, large.code, large.body) == (413, "body_too_large", None)


async def test_a_flood_from_everywhere_writes_no_row_of_an_address(sql: Database) -> None:
    keys = SqlKeyStore(sql, MasterKey(bytes(32)))
    refusals = Refusals(sql, keys, "s", 60)
    for n in range(500):
        refusals.saw(connection(), Problem("token_required"), ip_address(f"2001:db8:{n:x}::1"))
    await refusals.flush(last=True)
    async with sql.reading() as tx:
        for table in (persons, person_keys):
            assert (await tx.execute(select(func.count()).select_from(table))).scalar_one() == 0
    found = await told(sql)
    assert len(found) == 61
    assert len({whose for whose, _ in found}) == 61
    assert sum(event.count for _, event in found) == 500


async def test_one_address_has_a_share_and_the_others_are_counted_once_a_minute(
    sql: Database,
) -> None:
    clock = Clock()
    refusals = Refusals(sql, SqlKeyStore(sql, MasterKey(bytes(32))), "s", 60, clock)
    here = connection()
    for _ in range(100):
        refusals.saw(here, Problem("quota_exceeded"), ip_address("192.0.2.1"))
        refusals.saw(here, Problem("unavailable"), ip_address("192.0.2.1"))
    refusals.saw(here, Problem("token_required"), ip_address("192.0.2.2"))
    await refusals.flush()
    clock.now += 30
    refusals.saw(here, Problem("quota_exceeded"), ip_address("192.0.2.1"))
    await refusals.flush()
    found = [event for _, event in await told(sql)]
    assert Counter(e.code for e in found) == {"quota_exceeded": SHARE, "token_required": 1}
    clock.now += 31
    await refusals.flush()
    found = [event for _, event in await told(sql)]
    assert [e.count for e in found if not e.door] == [95]
    assert sum(e.count for e in found) == 102


async def test_while_the_database_is_away_they_are_counted_and_nobody_waits(
    sql: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusals = Refusals(sql, SqlKeyStore(sql, MasterKey(bytes(32))), "s", 5)

    async def away(*_: Any) -> None:
        raise Unavailable("gone")

    with monkeypatch.context() as gone:
        gone.setattr(sql, "run", away)
        for _ in range(3):
            refusals.saw(connection(), Problem("token_required"), ip_address("192.0.2.1"))
            await refusals.flush()
    assert await told(sql) == []
    await refusals.flush(last=True)
    ((_, event),) = await told(sql)
    assert (event.code, event.count) == ("token_required", 3)


async def test_it_runs_beside_the_doors_and_writes_what_it_knows_when_it_stops(
    sql: Database,
) -> None:
    refusals = Refusals(sql, SqlKeyStore(sql, MasterKey(bytes(32))), "s", 0)
    running = asyncio.create_task(refusals.run())
    refusals.saw(connection(), Problem("token_required"), ip_address("192.0.2.1"))
    refusals.stop()
    await running
    assert [event.count for _, event in await told(sql)] == [1]


async def test_an_auditor_finds_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with house(tmp_path) as gateway:
        settings = Settings(data=tmp_path)
        log = open_log(settings)
        await apply(log, settings)
        refusals = tracing(gateway)
        async with gateway.client("192.0.2.1") as client:
            assert (await client.post("/tts", content=b"{")).status_code == 400
        await refusals.flush()
        shipping = Outbox(gateway.database, log)
        working = asyncio.create_task(shipping.run())
        async with asyncio.timeout(60):
            async for _ in log.read([TOPIC], follow=True):
                break
        shipping.stop()
        await working
        async with gateway.database.transaction() as tx:
            await tx.execute(delete(outbox))
        await log.close()
    monkeypatch.setenv("VOXRELAY_DATA", str(tmp_path))
    monkeypatch.setenv("VOXRELAY_MASTER_KEY_FILE", str(tmp_path / "test-master.key"))
    lines = (await asyncio.to_thread(asked, "--json")).splitlines()
    (row,) = [json.loads(line) for line in lines]
    assert (row["status"], row["door"], row["size"]) == (400, "/tts", 1)
    assert UUID(row["person"])
    assert "body_not_json" in await asyncio.to_thread(asked)


def asked(*words: str) -> str:
    done = CliRunner().invoke(audit, ["trail", "--refused", *words])
    assert done.exit_code == 0, done.output
    return done.output


def connection() -> HTTPConnection:
    """A request that nothing was read of."""
    return HTTPConnection({"type": "http", "path": "/v1/jobs", "headers": []})
