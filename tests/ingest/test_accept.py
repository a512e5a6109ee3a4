"""Accept once, by two gateways on one database at the same time; the SQL is the same on both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import delete, func, select

from relay.log.sqlite import SqliteLog
from relay.sql.schema import idempotency, jobs, outbox, quotas
from relay.sweep import Sweeper
from tests.ingest.conftest import House, house
from tests.ingest.test_jobs import send

Pair = tuple[House, House]


@pytest.fixture(params=["sqlite", "postgresql"])
async def pair(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Pair]:
    """Two gateways of one site."""
    sql = "sqlite" if request.param == "sqlite" else request.getfixturevalue("database")
    quota = {"quota_per_minute": 1, "quota_burst": 3}
    async with (
        house(tmp_path, sql=sql, **quota) as one,
        house(tmp_path, sql=sql, **quota) as other,
    ):
        yield one, other


async def counted(gateway: House) -> tuple[int, int, int]:
    """Rows of jobs, of the outbox and of idempotency keys."""
    async with gateway.database.reading() as tx:
        counts = [
            (await tx.execute(select(func.count()).select_from(table))).scalar_one()
            for table in (jobs, outbox, idempotency)
        ]
    return counts[0], counts[1], counts[2]


async def test_one_key_at_two_gateways_is_one_job_and_one_token(pair: Pair) -> None:
    one, other = pair
    async with one.client("192.0.2.1") as here, other.client("192.0.2.1") as there:
        answers = await asyncio.gather(*(send(at, key="k") for at in (here, there) * 4))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["job_id"] for answer in answers}) == 1
    assert await counted(one) == (1, 1, 1)
    async with one.database.reading() as tx:
        assert (await tx.execute(select(quotas.c.tokens))).scalar_one() == pytest.approx(2, abs=0.5)


async def test_one_bucket_for_both_gateways(pair: Pair) -> None:
    one, other = pair
    async with one.client("192.0.2.1") as here, other.client("192.0.2.1") as there:
        answers = await asyncio.gather(*(send(at) for at in (here, there) * 4))
    assert sorted(answer.status_code for answer in answers) == [202] * 3 + [429] * 5
    assert (await counted(one))[:2] == (3, 3)


async def test_a_job_is_seen_and_its_sound_is_signed_at_the_other_gateway(pair: Pair) -> None:
    one, other = pair
    async with one.client("192.0.2.1") as here, other.client("192.0.2.1") as there:
        job = (await send(here)).json()["job_id"]
        assert (await there.get(f"/v1/jobs/{job}")).json()["job_id"] == job
    assert one.app.state.gateway.links == other.app.state.gateway.links


async def test_a_recording_swept_in_the_instant_before_it_is_accepted_again_is_there(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = pair[0]
    monkeypatch.setattr("relay.sweep.AGE", timedelta(seconds=-60))  # old enough at once
    store, put = gateway.objects, gateway.objects.put
    sweeper = Sweeper(gateway.database, store, SqliteLog(Path("nowhere")))

    async def swept_after(key: str, data: bytes, content_type: str) -> bool:
        stored = await put(key, data, content_type)
        if not stored:
            monkeypatch.setattr(store, "put", put)
            assert await sweeper._sweep([await store.stat(key)]) == 1
        return stored

    async with gateway.client("192.0.2.1") as client:
        job = (await send(client)).json()["job_id"]
        async with gateway.database.transaction() as tx:
            await tx.execute(delete(jobs).where(jobs.c.id == UUID(job)))
        monkeypatch.setattr(store, "put", swept_after)
        assert (await send(client)).status_code == 202
    assert len([stat async for stat in store.list("recording/")]) == 1
