"""A job's place and time, as clients are told them: at every door, at every gateway."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import Row
from websockets.asyncio.client import connect

from ingest import queue
from ingest.doors.events import _Wait
from ingest.estimate import Standing, Stay
from relay.doorbell import _Bell
from relay.errors import Unavailable
from relay.log.sqlite.log import SqliteLog
from relay.sql.database import Transaction
from schemas.events import PromptApproved
from schemas.states import State
from schemas.topics import topic_of
from tests.ingest.by_hand import Chain
from tests.ingest.conftest import SOON, House, house, served
from tests.ingest.test_jobs import send


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every question is a look of its own."""
    monkeypatch.setattr(queue, "FRESH", 0.0)
    monkeypatch.setattr(queue, "_SHARE", 0.0)


@pytest.fixture
async def client(gateway: House) -> AsyncIterator[httpx.AsyncClient]:
    gateway.app.state.gateway.queue._fresh = 0.0
    async with gateway.client() as client:
        yield client


async def accepted(client: httpx.AsyncClient) -> str:
    return str((await send(client)).json()["job_id"])


async def stands(client: httpx.AsyncClient, job: str) -> Any:
    return (await client.get(f"/v1/jobs/{job}")).json()["queue"]


async def gone_through(gateway: House, job: str) -> None:
    chain = await Chain.of(gateway, job)
    for step in (chain.uploaded, chain.approved, chain.synthesized, chain.delivered):
        await step()


async def test_a_place_is_told_at_once_and_a_time_when_some_have_ended(
    gateway: House, client: httpx.AsyncClient
) -> None:
    first, second = await accepted(client), await accepted(client)
    told = [await stands(client, job) for job in (first, second)]
    assert {each["place"] for each in told} == {0, 1}
    assert [each["seconds"] for each in told] == [None, None]
    for _ in range(3):
        await gone_through(gateway, await accepted(client))
    await gone_through(gateway, first)
    assert await stands(client, first) is None
    left = await stands(client, second)
    assert left["place"] == 0
    assert 0 <= left["seconds"] < SOON


async def test_who_waits_for_a_person_stands_in_no_queue(
    gateway: House, client: httpx.AsyncClient
) -> None:
    job, other = await accepted(client), await accepted(client)
    chain = await Chain.of(gateway, job)
    await chain.uploaded()
    await chain.held()
    assert await stands(client, job) is None
    assert (await stands(client, other))["place"] == 0


async def test_a_job_that_has_not_ended_is_known_to_have_left_what_lies_behind_it(
    gateway: House, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else whoever waits there would seem to have had a slot since the one before it left."""
    seen: list[Sequence[Sequence[Stay]]] = []
    foresee = queue._foreseen

    def spied(stays: Sequence[Sequence[Stay]], now: float) -> Mapping[UUID, Standing]:
        seen.append(stays)
        return foresee(stays, now)

    monkeypatch.setattr(queue, "_foreseen", spied)
    job = await accepted(client)
    chain = await Chain.of(gateway, job)
    for step in (chain.uploaded, chain.approved, chain.synthesized):
        await step()
    assert (await stands(client, job))["place"] == 0
    left = [[stay.left is not None for stay in stage] for stage in seen[-1]]
    assert left == [[True], [True], [False]]


async def test_a_job_that_ends_between_the_two_statements_of_a_look_has_ended(
    gateway: House, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on PostgreSQL, where each sees what was committed by then: it is in both."""
    for _ in range(3):
        await gone_through(gateway, await accepted(client))
    ending, waits = await accepted(client), await accepted(client)
    chain = await Chain.of(gateway, ending)
    for step in (chain.uploaded, chain.approved, chain.synthesized):
        await step()
    async with gateway.app.state.gateway.database.reading() as tx:
        before = await queue._unfinished(tx)
    await chain.delivered()

    async def of_old(_: Transaction) -> Sequence[Row[Any]]:
        return before

    monkeypatch.setattr(queue, "_unfinished", of_old)
    assert (await stands(client, waits))["place"] == 0


async def test_where_more_wait_than_are_looked_at_the_youngest_are_told_nothing(
    gateway: House, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not whoever moved last: they are about to end, before all others."""
    monkeypatch.setattr(queue, "MOST", 2)
    jobs = [await accepted(client) for _ in range(3)]
    chain = await Chain.of(gateway, jobs[0])
    for step in (chain.uploaded, chain.approved):
        await step()
    first, second, third = [await stands(client, job) for job in jobs]
    assert (first["place"], second["place"], third) == (0, 1, None)


async def test_every_gateway_tells_the_same(gateway: House, tmp_path: Path) -> None:
    async with house(tmp_path) as other, gateway.client() as here, other.client() as there:
        jobs = [await accepted(here) for _ in range(5)]
        for each in (gateway, other):
            each.app.state.gateway.queue._fresh = 0.0
        mine = [(await stands(here, job))["place"] for job in jobs]
        theirs = [(await stands(there, job))["place"] for job in jobs]
    assert sorted(mine) == [0, 1, 2, 3, 4]
    assert mine == theirs


async def test_a_look_does_for_all_who_ask_meanwhile(
    gateway: House, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [await accepted(client) for _ in range(3)]
    monkeypatch.setattr(queue, "FRESH", 60.0)
    looks, see = [], queue.Queue._see

    async def counted(self: queue.Queue) -> None:
        looks.append(self)
        await see(self)

    monkeypatch.setattr(queue.Queue, "_see", counted)
    parts = gateway.app.state.gateway.queue
    parts._fresh = 60.0
    await asyncio.gather(*(stands(client, job) for job in jobs * 10))
    assert len(looks) == 1


async def test_with_the_log_or_the_database_away_a_job_is_told_all_the_same(
    gateway: House, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await accepted(client)

    async def away(*_: object) -> None:
        raise Unavailable("it does not answer")

    monkeypatch.setattr(SqliteLog, "ends", away)
    assert (await stands(client, job))["place"] == 0
    monkeypatch.setattr(queue.Queue, "_see", away)
    answer = await client.get(f"/v1/jobs/{job}")
    assert (answer.status_code, answer.json()["queue"]["place"]) == (200, 0)


async def test_partitions_that_are_added_take_turns_too(
    gateway: House, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside, job = gateway.app.state.gateway, await accepted(client)
    for count in (2, 5):
        await inside.log.apply({topic_of(PromptApproved): count}, {}, [])
        await stands(client, job)
        assert inside.queue._partitions == 2, "they are not counted each time"
    monkeypatch.setattr(queue, "_COUNT", 0.0)
    await stands(client, job)
    assert inside.queue._partitions == 5


async def test_streams_tell_the_place_with_each_state_and_whenever_it_changes(
    gateway: House, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait = _Bell.wait
    monkeypatch.setattr(_Bell, "wait", lambda bell: wait(bell, timeout=0.05))
    before, job = await accepted(client), await accepted(client)
    while (await stands(client, job))["place"] == 0:  # its partition's turn came first
        before, job = job, await accepted(client)
    async with (
        asyncio.timeout(SOON),
        served(gateway) as address,
        connect(f"ws://{address}/v1/ws") as line,
        httpx.AsyncClient(base_url=f"http://{address}", timeout=SOON) as web,
        web.stream("GET", f"/v1/jobs/{job}/events") as stream,
    ):
        lines = stream.aiter_lines()
        assert (await _data(lines, "state"))["queue"]["place"] >= 1
        await line.send(json.dumps({"subscribe": job}))
        first = json.loads(await line.recv())
        assert (first["type"], first["job_id"]) == ("queue", job)
        for waits in await _all(web):
            if waits != job:
                await gone_through(gateway, waits)
        while (await _data(lines, "queue"))["queue"]["place"]:
            pass
        while json.loads(await line.recv())["queue"]["place"]:
            pass
        chain = await Chain.of(gateway, job)
        await chain.uploaded()
        assert (await _data(lines, "state"))["queue"]["place"] == 0
        await chain.failed()
        assert "queue" not in await _data(lines, "state")
    assert before != job


async def test_a_stream_of_who_waits_for_a_person_of_ours_looks_for_no_place(
    gateway: House, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not there, and who is not there is looked for four times as often."""
    inside = gateway.app.state.gateway
    chain = await Chain.of(gateway, await accepted(client))
    looked: list[UUID] = []

    async def of(job: UUID) -> Standing:
        looked.append(job)
        return Standing(0, None)

    monkeypatch.setattr(inside.queue, "of", of)
    job = await inside.job(UUID(chain.head.key), chain.head.person)
    waits = _Wait(inside, job)
    assert await waits.moved() is not None
    assert looked == [job.id]
    await chain.uploaded()
    await chain.held()
    async with aclosing(inside.follow(job.id, 0)) as events:
        async for event in events:
            assert event is not None
            waits.saw(event)
            if event.state == State.HELD:
                break
    assert await waits.moved() is None
    assert await _Wait(inside, await inside.job(job.id, chain.head.person)).moved() is None
    assert looked == [job.id]


async def _all(web: httpx.AsyncClient) -> list[str]:
    listed = (await web.get("/v1/jobs", params={"limit": 100})).json()["jobs"]
    return [each["job_id"] for each in listed if not each["ended"]]


async def _data(lines: AsyncIterator[str], kind: str) -> Any:
    """The next event of this kind."""
    found = ""
    async for line in lines:
        if line.startswith("event:"):
            found = line.removeprefix("event:").strip()
        elif line.startswith("data:") and found == kind:
            return json.loads(line.removeprefix("data:"))
    raise AssertionError("the stream has ended")
