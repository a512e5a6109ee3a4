"""Accept once, by two gateways on one database at the same time; the SQL is the same on both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import delete, func, select, update

from ingest.accounts.access_keys import PREFIX, Wanted, create
from relay.log.sqlite import SqliteLog
from relay.sql.schema import idempotency, jobs, outbox, quotas
from relay.sweep import Sweeper
from tests.ingest.by_hand import Chain
from tests.ingest.conftest import House, house
from tests.ingest.test_jobs import send

Pair = tuple[House, House]


@pytest.fixture(params=["sqlite", "postgresql"])
async def pair(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Pair]:
    """Two gateways of one site."""
    sql = "sqlite" if request.param == "sqlite" else request.getfixturevalue("database")
    quota = {"quota_per_minute": 1, "quota_burst": 3, "daily_seconds": 3, "concurrent": 4}
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


async def with_key(gateway: House, **limits: float) -> dict[str, str]:
    """The head of a request that bears a key with limits of its own."""
    wanted = Wanted("server", limits=limits)
    _, handed = await gateway.database.run(lambda tx: create(tx, wanted))
    return {"authorization": f"Bearer {handed.spelled(PREFIX)}"}


async def test_no_more_jobs_at_once_than_may_be_at_two_gateways(pair: Pair) -> None:
    one, other = pair
    head = await with_key(one, per_minute=0.0, concurrent=2.0)
    async with one.client(headers=head) as here, other.client(headers=head) as there:
        answers = await asyncio.gather(*(send(at) for at in (here, there) * 3))
        assert sorted(answer.status_code for answer in answers) == [202] * 2 + [429] * 4
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert refused.json()["code"] == "jobs_unfinished"
        assert int(refused.headers["retry-after"]) >= 1
        taken = [answer.json()["job_id"] for answer in answers if answer.status_code == 202]
        await (await Chain.of(one, taken[0])).rejected()
        assert (await send(there)).status_code == 202, "one has ended"
        await (await Chain.of(one, taken[1])).held()
        assert (await send(here)).status_code == 202, "one waits for a person of ours"
        assert (await send(there)).status_code == 429


async def test_a_day_has_so_many_seconds_at_two_gateways(pair: Pair) -> None:
    one, other = pair
    async with one.client("192.0.2.1") as here, other.client("192.0.2.1") as there:
        for count, at in enumerate((here, there)):
            sent = await send(at)
            assert f'"seconds";r={3 - 2 * count};t=' in sent.headers["ratelimit"]
            chain = await Chain.of(one, sent.json()["job_id"])
            await chain.delivered()  # two seconds
            await chain.delivered()  # the same event: they are spent once
        refused = await send(here)
        assert (refused.status_code, refused.json()["code"]) == (429, "seconds_spent")
        assert 1 <= int(refused.headers["retry-after"]) <= 86_400
        assert '"seconds";q=3;w=86400' in refused.headers["ratelimit-policy"]
        async with one.database.transaction() as tx:
            await tx.execute(
                update(quotas)
                .where(quotas.c.name == "seconds")
                .values(updated_at=tx.now - timedelta(days=1))
            )
        assert (await send(there)).status_code == 202, "a new day"


async def test_what_is_left_stands_in_the_head_of_every_answer(pair: Pair) -> None:
    async with pair[0].client("192.0.2.1") as client:
        said = [await send(client, key=f"k{n}") for n in range(4)]
        again = await send(client, key="k0")
    assert [answer.status_code for answer in said] == [202, 202, 202, 429]
    for count, answer in enumerate(said):
        assert answer.headers["ratelimit-policy"].startswith('"jobs";q=3;w=180')
        jobs_left, _, seconds = answer.headers["ratelimit"].split(",")[0].partition(";t=")
        assert jobs_left == f'"jobs";r={max(0, 2 - count)}'
        assert 1 <= int(seconds) <= 60
    assert said[3].headers["retry-after"] == said[3].headers["ratelimit"].partition(";t=")[2]
    assert again.status_code == 202
    assert "ratelimit" not in again.headers, "it took nothing"


async def test_a_key_with_a_rate_of_its_own_has_a_bucket_of_its_own(pair: Pair) -> None:
    one, other = pair
    head = await with_key(one, per_minute=1.0, burst=5.0, concurrent=0.0)
    async with one.client(headers=head) as here, other.client(headers=head) as there:
        answers = await asyncio.gather(*(send(at) for at in (here, there) * 4))
    taken = [answer for answer in answers if answer.status_code == 202]
    assert len(taken) == 5
    assert taken[0].headers["ratelimit-policy"].startswith('"jobs";q=5;w=300')
    async with one.database.reading() as tx:
        names = (await tx.execute(select(quotas.c.name))).scalars().all()
    assert [name.startswith("key ") for name in names if name != "seconds"] == [True]
