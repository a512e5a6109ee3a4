"""Many sockets at one gateway, and one that does not read what it is told."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidHandshake

from tests.hostile.uploads import resident
from tests.ingest.by_hand import Chain
from tests.ingest.conftest import House, house, served
from tests.ingest.test_jobs import wish

CROWD, FOLLOWERS = 1_000, 200
LONG = 120.0
"""Seconds that nothing here may take, a thousand handshakes on a busy machine included."""


@pytest.fixture
def files() -> Iterator[None]:
    """Room for both ends of every socket in this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 3 * CROWD:
        pytest.skip(f"a process may open {hard} files here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 3 * CROWD), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def accepted(gateway: House, address: str) -> Chain:
    """A job just accepted."""
    async with httpx.AsyncClient(base_url=f"http://{address}", timeout=LONG) as client:
        answer = await client.post("/v1/jobs", json=wish())
    assert answer.status_code == 202, answer.text
    return await Chain.of(gateway, answer.json()["job_id"])


async def last_state(
    address: str, job: str, at: asyncio.Semaphore, here: asyncio.Queue[None]
) -> str:
    """The last state that a socket is told of which follows the job."""
    async with AsyncExitStack() as stack:
        async with at:  # so many shake hands at once: a listener's backlog is not endless
            line = await stack.enter_async_context(connect(f"ws://{address}/v1/ws"))
            await line.send(json.dumps({"subscribe": job, "after": 0}))
            await line.send(json.dumps({"ping": True}))
            while json.loads(await line.recv())["type"] != "pong":
                pass
        here.put_nowait(None)
        async for word in line:
            said = json.loads(word)
            if said["type"] == "state" and said["state"] == "delivered":
                break
        return str(said["state"])


async def test_among_a_thousand_sockets_all_are_told_and_the_door_stays_open(
    tmp_path: Path, files: None
) -> None:
    async with (
        asyncio.timeout(LONG),
        house(tmp_path) as gateway,
        served(gateway) as address,
        AsyncExitStack() as idle,
        asyncio.TaskGroup() as crowd,
    ):
        for _ in range(CROWD - FOLLOWERS):
            await idle.enter_async_context(connect(f"ws://{address}/v1/ws"))
        chain = await accepted(gateway, address)
        at, here = asyncio.Semaphore(50), asyncio.Queue[None]()
        job = str(chain.head.key)
        all_ = [crowd.create_task(last_state(address, job, at, here)) for _ in range(FOLLOWERS)]
        for _ in range(FOLLOWERS):
            await here.get()
        await chain.uploaded()
        other = await accepted(gateway, address)  # while all of them are told
        await chain.delivered()
        assert {await each for each in all_} == {"delivered"}
        assert other.head.key != chain.head.key


async def deaf(address: str, job: str) -> AsyncIterator[int]:
    """A client that asks for the same events again and again, and reads none; bytes it has sent."""
    host, port = address.split(":")
    line = socket.create_connection((host, int(port)))
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    line.setblocking(False)
    loop, sent = asyncio.get_running_loop(), 0
    head = (
        f"GET /v1/ws HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    await loop.sock_sendall(line, head.encode())
    word = json.dumps({"subscribe": job, "after": 0}).encode()
    frame = bytes([0x81, 0x80 | len(word), 0, 0, 0, 0]) + word
    try:
        while True:
            async with asyncio.timeout(3):
                await loop.sock_sendall(line, frame * 20)
            sent += 20 * len(frame)
            yield sent
    except (TimeoutError, ConnectionError):
        return  # nobody reads at the other end any more, or it has hung up
    finally:
        line.close()


async def test_who_does_not_read_costs_nobody_else_anything(tmp_path: Path) -> None:
    async with asyncio.timeout(LONG), house(tmp_path) as gateway, served(gateway) as address:
        ended = await accepted(gateway, address)
        await ended.uploaded()
        await ended.approved()
        await ended.delivered()
        before, sent = resident(os.getpid()), 0
        async for sent in deaf(address, str(ended.head.key)):
            if sent > 20_000_000:
                pytest.fail("the gateway goes on reading somebody who does not read")
        assert sent
        chain = await accepted(gateway, address)
        at, here = asyncio.Semaphore(1), asyncio.Queue[None]()
        told = asyncio.create_task(last_state(address, str(chain.head.key), at, here))
        await here.get()
        await chain.uploaded()
        await chain.delivered()
        assert await told == "delivered"
        assert resident(os.getpid()) - before < 50_000_000


async def test_who_goes_before_they_are_let_in_is_no_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with asyncio.timeout(LONG), house(tmp_path) as gateway, served(gateway) as address:
        host, port = address.split(":")
        for _ in range(20):
            _, writer = await asyncio.open_connection(host, int(port))
            writer.write(
                f"GET /v1/ws HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\n"
                "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                "Sec-WebSocket-Version: 13\r\n\r\n".encode()
            )
            writer.transport.abort()
        with pytest.raises((OSError, InvalidHandshake)):
            await connect(f"ws://{address}/v1/nothing")
        async with connect(f"ws://{address}/v1/ws") as line:
            await line.send(json.dumps({"ping": True}))
            assert json.loads(await line.recv())["type"] == "pong"
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
