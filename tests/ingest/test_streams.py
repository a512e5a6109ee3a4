"""Following a job: server-sent events and the WebSocket, over a real socket, and resuming."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from relay.doorbell import _Bell
from tests.ingest.by_hand import Chain
from tests.ingest.conftest import SOON, House, house, served
from tests.ingest.test_jobs import wish

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with house(tmp_path_factory.mktemp("streams"), heartbeat=0.1) as opened:
        yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def address(gateway: House) -> AsyncIterator[str]:
    async with served(gateway) as address:
        yield address


@pytest_asyncio.fixture(loop_scope="module")
async def client(address: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"http://{address}", timeout=SOON) as client:
        yield client


async def accepted(client: httpx.AsyncClient) -> str:
    answer = await client.post("/v1/jobs", json=wish())
    assert answer.status_code == 202, answer.text
    job: str = answer.json()["job_id"]
    return job


async def sent(lines: AsyncIterator[str]) -> AsyncIterator[tuple[int, dict[str, Any]]]:
    """The events in a stream, as (id, data)."""
    id_ = -1
    async for line in lines:
        if line.startswith("id:"):
            id_ = int(line[3:])
        elif line.startswith("data:"):
            yield id_, json.loads(line[5:])


async def all_of(client: httpx.AsyncClient, job: str, **headers: str) -> list[tuple[int, str]]:
    """Every event of a stream that ends, as (id, state)."""
    async with client.stream("GET", f"/v1/jobs/{job}/events", headers=headers) as stream:
        assert stream.status_code == 200
        assert stream.headers["content-type"].startswith("text/event-stream")
        return [(id_, data["state"]) async for id_, data in sent(stream.aiter_lines())]


async def test_events_come_as_they_happen_and_the_stream_ends_with_the_job(
    gateway: House, client: httpx.AsyncClient
) -> None:
    job = await accepted(client)
    chain = await Chain.of(gateway, job)
    async with (
        asyncio.timeout(SOON),
        client.stream("GET", f"/v1/jobs/{job}/events") as stream,
    ):
        events = sent(stream.aiter_lines())
        assert (await anext(events))[1]["state"] == "accepted"
        for tell, state in (
            (chain.uploaded, "uploaded"),
            (chain.approved, "approved"),
            (chain.delivered, "delivered"),
        ):
            await tell()
            seen, data = await anext(events)
            assert data["state"] == state
            assert data["seq"] == seen
        assert data["job"]["audio"]["seconds"] == 2.0
        assert [event async for event in events] == []


async def test_a_ring_wakes_a_waiter(
    gateway: House, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait = _Bell.wait
    monkeypatch.setattr(_Bell, "wait", lambda bell: wait(bell, timeout=600))  # it never looks again
    job = await accepted(client)
    chain = await Chain.of(gateway, job)
    async with client.stream("GET", f"/v1/jobs/{job}/events") as stream:
        events = sent(stream.aiter_lines())
        await anext(events)
        await chain.failed()
        async with asyncio.timeout(SOON):
            assert (await anext(events))[1]["state"] == "failed"


async def test_a_stream_resumes_after_the_last_event_seen(
    gateway: House, client: httpx.AsyncClient
) -> None:
    job = await accepted(client)
    chain = await Chain.of(gateway, job)
    await chain.uploaded()
    await chain.approved()
    await chain.delivered()
    everything = [(0, "accepted"), (1, "uploaded"), (2, "approved"), (3, "delivered")]
    assert await all_of(client, job) == everything
    for last in range(3):
        assert await all_of(client, job, **{"last-event-id": str(last)}) == everything[last + 1 :]
    over = await client.get(f"/v1/jobs/{job}/events", headers={"last-event-id": "3"})
    assert over.status_code == 204, "else a browser would reconnect for ever"
    wrong = await client.get(f"/v1/jobs/{job}/events", headers={"last-event-id": "x"})
    assert wrong.json()["code"] == "fields_invalid"


async def test_a_quiet_stream_shows_that_it_lives(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_Bell, "wait", _impatient)
    job = await accepted(client)
    async with (
        asyncio.timeout(SOON),
        client.stream("GET", f"/v1/jobs/{job}/events") as stream,
    ):
        async for line in stream.aiter_lines():
            if line.startswith(":"):
                break


async def _impatient(bell: object) -> bool:
    await asyncio.sleep(0.05)
    return False


async def ask(line: ClientConnection, **what: Any) -> None:
    await line.send(json.dumps(what))


async def told(line: ClientConnection) -> dict[str, Any]:
    async with asyncio.timeout(SOON):
        answer: dict[str, Any] = json.loads(await line.recv())
    return answer


async def test_one_socket_follows_many_jobs_and_resumes(
    gateway: House, client: httpx.AsyncClient, address: str
) -> None:
    jobs = [await accepted(client) for _ in range(2)]
    chains = [await Chain.of(gateway, job) for job in jobs]
    async with connect(f"ws://{address}/v1/ws") as line:
        await ask(line, ping=True)
        assert (await told(line))["type"] == "pong"
        for job in jobs:
            await ask(line, subscribe=job)
        for chain, job in zip(chains, jobs, strict=True):
            await chain.uploaded()
            event = await told(line)
            assert (event["job_id"], event["seq"], event["state"]) == (job, 1, "uploaded")
        await chains[0].rejected()
        event = await told(line)
        assert (event["type"], event["state"]) == ("state", "rejected")
        assert event["job"]["reasons"][0]["code"] == "word_forbidden"
        await ask(line, unsubscribe=jobs[1])
        await ask(line, ping=True)
        assert (await told(line))["type"] == "pong"
        await chains[1].approved()
        await ask(line, subscribe=jobs[0], after=1)
        assert (await told(line))["state"] == "rejected", "and nothing of the other job"
    async with connect(f"ws://{address}/v1/ws") as line:
        await ask(line, subscribe=jobs[1], after=1)
        assert (await told(line))["seq"] == 2
        await ask(line, subscribe=jobs[0], after=2)
        assert (await told(line))["type"] == "ended"


async def test_a_socket_survives_nonsense(client: httpx.AsyncClient, address: str) -> None:
    async with connect(f"ws://{address}/v1/ws") as line:
        for nonsense in ("", "{", "[]", '{"subscribe": 5}', '{"after": -1}', '{"shout": 1}'):
            await line.send(nonsense)
            assert (await told(line))["code"] == "request_invalid"
        await ask(line, subscribe=str(uuid.uuid4()))
        assert (await told(line))["code"] == "job_unknown"
        await line.send(b"\x00\x01")
        assert (await told(line))["code"] == "request_invalid"
        await ask(line, ping=True)
        assert (await told(line))["type"] == "pong"


async def test_one_socket_follows_so_many_jobs_and_no_more(
    client: httpx.AsyncClient, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.doors.events.MOST_JOBS", 2)
    jobs = [await accepted(client) for _ in range(3)]
    async with connect(f"ws://{address}/v1/ws") as line:
        for job in jobs:
            await ask(line, subscribe=job)
        assert (await told(line))["code"] == "subscriptions_exceeded"
        await ask(line, unsubscribe=jobs[0])
        await ask(line, subscribe=jobs[2])
        await ask(line, ping=True)
        assert (await told(line))["type"] == "pong"


async def test_a_socket_of_another_site_is_closed(address: str) -> None:
    async with connect(f"ws://{address}/v1/ws", origin="https://evil.example") as line:
        assert (await told(line))["code"] == "origin_refused"
        with pytest.raises(ConnectionClosed) as closed:
            await line.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1008


async def test_open_streams_are_ended_and_not_cut(tmp_path: Path) -> None:
    async with house(tmp_path) as gateway, httpx.AsyncClient(timeout=SOON) as client:
        async with served(gateway) as address:
            answer = await client.post(f"http://{address}/v1/jobs", json=wish())
            stream = client.stream("GET", answer.json()["events_url"])
            opened = await stream.__aenter__()
            assert opened.status_code == 200
            line = await connect(f"ws://{address}/v1/ws").__aenter__()
            await ask(line, subscribe=answer.json()["job_id"])
            rest = asyncio.create_task(opened.aread())
        assert b"accepted" in await rest  # a stream that is cut raises
        await opened.aclose()
        with pytest.raises(ConnectionClosed):
            await told(line)
