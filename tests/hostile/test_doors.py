"""Requests from somebody who means harm: bodies, heads, drips, frames. The doors stay open."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from random import Random

import httpx
import pytest
import pytest_asyncio
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.hostile.sender import SECONDS
from tests.ingest.conftest import SOON, house, served
from tests.ingest.test_jobs import wish
from tests.sql import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

SIZE = 10_000_000
"""Bytes of a large body; a larger one is refused unread."""
JSON = "application/json"
INTRICATE = "body_too_intricate"
FORM = "multipart/form-data; boundary=x"
PART = b'--x\r\nContent-Disposition: form-data; name="text"\r\n\r\n'


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def address(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """A gateway that waits for no body longer than a moment."""
    opened = house(tmp_path_factory.mktemp("doors"), body_seconds=1.5)
    async with opened as gateway, served(gateway) as at:
        yield at


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def roomy(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """A gateway with its usual patience."""
    async with house(tmp_path_factory.mktemp("roomy")) as gateway, served(gateway) as at:
        yield at


@pytest.fixture(autouse=True)
def no_bug_was_met(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Whatever a stranger does is no bug of ours: nothing of that kind may be logged."""
    yield
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert errors == []


def _json(**fields: object) -> bytes:
    return json.dumps({**wish(), **fields}, ensure_ascii=False).encode()


def _many(count: int) -> bytes:
    return b"{" + b",".join(b'"a%d":1' % n for n in range(count)) + b"}"


BODIES: dict[str, tuple[Callable[[], bytes], str, str]] = {
    "a million fields": (lambda: _many(SIZE // 13), JSON, INTRICATE),
    "a field a million times": (
        lambda: b"{" + b",".join([b'"a":1'] * (SIZE // 6)) + b"}",
        JSON,
        INTRICATE,
    ),
    "a long list": (lambda: b"[" + b"1," * (SIZE // 2) + b"1]", JSON, INTRICATE),
    "a deep list": (lambda: b'{"text":' + b"[" * SIZE, JSON, INTRICATE),
    "thousands of fields": (lambda: _many(20_000), JSON, "fields_invalid"),
    "samples with thousands of fields": (
        lambda: _json(pcm={str(n): 1 for n in range(20_000)}),
        JSON,
        "fields_invalid",
    ),
    "a text of nothing": (lambda: _json(text="\u200b" * (SIZE // 3)), JSON, "text_too_long"),
    "an instruction of nothing": (
        lambda: _json(instruct="\u200b" * (SIZE // 3)),
        JSON,
        "instruct_too_long",
    ),
    "an endless number": (
        lambda: b'{"text":"a","seed":' + b"9" * SIZE + b"}",
        JSON,
        "body_not_json",
    ),
    "base64 in crumbs": (
        lambda: _json(recording="AAAA " * (SIZE // 5)),
        JSON,
        "recording_not_audio",
    ),
    "a data URL of parameters": (
        lambda: _json(recording="data:;" + "a=b;" * (SIZE // 4)),
        JSON,
        "recording_not_base64",
    ),
    "a language without end": (
        lambda: _json(language="aa" + "-aaaaaaaa" * 900_000),
        JSON,
        "fields_invalid",
    ),
    "a head of a part": (lambda: b"--x\r\nA: " + b"a" * SIZE, FORM, "body_not_multipart"),
    "heads of a part": (
        lambda: b"--x\r\n" + b"A: b\r\n" * (SIZE // 6),
        FORM,
        "body_not_multipart",
    ),
    "parts": (lambda: (PART + b"a\r\n") * (SIZE // 60), FORM, "body_not_multipart"),
    "almost boundaries": (lambda: PART + b"\r\n--" * (SIZE // 4), FORM, "text_missing"),
    "a field without end": (
        lambda: PART + b"a" * SIZE + b"\r\n--x--\r\n",
        FORM,
        "recording_missing",
    ),
    "samples without end": (
        lambda: PART.replace(b"text", b"pcm") + b"[" * SIZE + b"\r\n--x--\r\n",
        FORM,
        "text_missing",
    ),
    "no boundary": (lambda: PART, "multipart/form-data", "body_not_multipart"),
    "a boundary without end": (
        lambda: b"--" + b"y" * SIZE,
        "multipart/form-data; boundary=" + "y" * 30_000,
        "body_not_multipart",
    ),
}


@pytest.mark.parametrize("name", BODIES)
async def test_a_costly_body_is_refused_cheaply(roomy: str, name: str) -> None:
    make, kind, code = BODIES[name]
    body = make()
    async with httpx.AsyncClient(base_url=f"http://{roomy}", timeout=SOON * 3) as client:
        begun = time.process_time()  # of ours, who serve and send
        answer = await client.post("/v1/jobs", content=body, headers={"content-type": kind})
        cost = time.process_time() - begun
    assert answer.json()["code"] == code
    assert len(answer.content) < 10_000
    assert cost < SECONDS


@asynccontextmanager
async def line(address: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A bare connection."""
    reader, writer = await asyncio.open_connection(*address.split(":"))
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def drip(writer: asyncio.StreamWriter, what: bytes) -> None:
    """One byte after another, until the other side has had enough."""
    with suppress(ConnectionError):
        while not writer.is_closing():
            writer.write(what)
            await writer.drain()
            await asyncio.sleep(0.02)


async def answered_while_dripping(address: str, begin: bytes, what: bytes) -> bytes:
    """All that comes back until the connection is closed."""
    async with line(address) as (reader, writer), asyncio.timeout(SOON):
        writer.write(begin)
        dripping = asyncio.create_task(drip(writer, what))
        said = b""
        with suppress(ConnectionError):
            while piece := await reader.read(65_536):
                said += piece
        dripping.cancel()
        await asyncio.gather(dripping, return_exceptions=True)
        return said


def post(kind: str, length: int = 1_000_000) -> bytes:
    """The head of a request with a body of `length`."""
    head = f"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n"
    return f"{head}Content-Length: {length}\r\n\r\n".encode()


@pytest.mark.parametrize(("kind", "begin"), [(JSON, b"{"), (FORM, PART)])
async def test_a_body_that_drips_is_not_waited_for(address: str, kind: str, begin: bytes) -> None:
    said = await answered_while_dripping(address, post(kind) + begin, b"a")
    assert said.startswith(b"HTTP/1.1 408 ")
    assert b"body_too_slow" in said


@pytest.mark.parametrize("begin", [b"", b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nX-A: "])
async def test_a_head_that_drips_is_cut_off(
    address: str, monkeypatch: pytest.MonkeyPatch, begin: bytes
) -> None:
    monkeypatch.setattr("relay.patience.HEAD_SECONDS", 0.5)
    assert await answered_while_dripping(address, begin, b"a") == b""


async def test_a_connection_that_says_nothing_is_cut_off(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.patience.HEAD_SECONDS", 0.5)
    async with line(address) as (reader, _), asyncio.timeout(SOON):
        assert await reader.read() == b""


async def test_a_body_that_nobody_wants_may_not_drip_on(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.patience.HEAD_SECONDS", 0.5)
    said = await answered_while_dripping(address, post("text/plain"), b"a")
    assert said.startswith(b"HTTP/1.1 415 ")


async def test_a_request_that_is_at_work_is_not_cut_off(
    roomy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.patience.HEAD_SECONDS", 0.1)
    async with httpx.AsyncClient(base_url=f"http://{roomy}", timeout=SOON) as client:
        for _ in range(3):
            answer = await client.post("/v1/jobs", json=wish())
            assert answer.status_code == 202
        stream = client.stream("GET", f"/v1/jobs/{answer.json()['job_id']}/events")
        async with stream as opened:
            await asyncio.sleep(0.3)  # longer than a head may take, and no sign to wait for
            async for told in opened.aiter_lines():
                if "accepted" in told:
                    break
            else:
                pytest.fail("the stream was cut")


@pytest.mark.parametrize(
    "flood", [b"X-A: " + b"a" * 1_000_000, b"X-A: b\r\n" * 20_000, b"A" * 1_000_000]
)
async def test_heads_without_end_are_refused(address: str, flood: bytes) -> None:
    async with line(address) as (reader, writer), asyncio.timeout(SOON):
        said = b""
        with suppress(ConnectionError):
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + flood + b"\r\n\r\n")
            await writer.drain()
            said = await reader.read()
        assert said.startswith(b"HTTP/1.1 4") or said == b""


async def test_who_goes_in_the_middle_of_a_body_is_no_bug(address: str) -> None:
    for kind, begin in ((JSON, b"{"), (FORM, PART)) * 5:
        async with line(address) as (_, writer):
            writer.write(post(kind) + begin)
            await writer.drain()
    async with httpx.AsyncClient(base_url=f"http://{address}") as client:

        async def counted() -> bool:
            said = (await client.get("/metrics")).text
            return 'voxrelay_refused_total{code="body_incomplete"}' in said

        await until(counted, SOON)


async def test_a_message_that_is_too_long_ends_its_line_alone(address: str) -> None:
    async with connect(f"ws://{address}/v1/ws") as bad, connect(f"ws://{address}/v1/ws") as good:
        await bad.send("x" * 70_000)
        with pytest.raises(ConnectionClosed):
            await bad.recv()
        await good.send('{"ping": true}')
        assert json.loads(await good.recv())["type"] == "pong"


MESSAGES = (
    '{"subscribe": "%s"}' % ("0" * 60_000),
    "[" * 60_000,
    '{"after": ' + "9" * 60_000 + "}",
    '{"subscribe": "00000000-0000-0000-0000-000000000000", "after": 1e308}',
    '{"ping": NaN}',
    '{"ping": "\\ud800"}',
    "\x00",
    "𝄞" * 15_000,
)


async def test_messages_of_every_kind_are_answered(address: str) -> None:
    draw = Random(1)
    async with connect(f"ws://{address}/v1/ws") as line_, asyncio.timeout(SOON):
        for message in (*MESSAGES, *(draw.randbytes(draw.randrange(200)) for _ in range(100))):
            await line_.send(message)
            assert json.loads(await line_.recv())["code"] in ("request_invalid", "job_unknown")


UPGRADE = (
    b"GET /v1/ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


async def test_frames_that_are_none_end_their_line_alone(address: str) -> None:
    draw = Random(2)
    frames = [draw.randbytes(draw.randrange(2, 400)) for _ in range(60)]
    frames += [
        b"\x81\xff" + b"\xff" * 8,
        b"\x0f\x80\0\0\0\0",
        b"\x81\x05hello",
        b"\x88\x81\0\0\0\0a",
    ]
    for frame in frames:
        async with line(address) as (reader, writer), asyncio.timeout(SOON):
            with suppress(ConnectionError):
                writer.write(UPGRADE)
                await reader.readuntil(b"\r\n\r\n")
                writer.write(frame)
                writer.write_eof()
                await reader.read()
    async with httpx.AsyncClient(base_url=f"http://{address}") as client:
        assert (await client.get("/healthz")).status_code == 200


async def test_who_opens_and_goes_leaves_nothing(address: str) -> None:
    before = len(asyncio.all_tasks())
    for n in range(60):
        async with line(address) as (_, writer):
            writer.write(UPGRADE if n % 2 else UPGRADE.replace(b"localhost", b"evil.example"))
            await writer.drain()
    await until(lambda: len(asyncio.all_tasks()) <= before, SOON)


async def test_who_asks_and_never_listens_holds_up_nobody(address: str) -> None:
    async with line(address) as (reader, writer):
        writer.write(UPGRADE)
        await reader.readuntil(b"\r\n\r\n")
        ping = b'{"ping": true}'
        frame = bytes([0x81, 0x80 | len(ping)]) + bytes(4) + ping
        sent = 0
        with suppress(TimeoutError, ConnectionError):  # held up itself, or cut off
            while sent < 100:  # a hundred times a thousand are more than any buffer takes
                writer.write(frame * 1_000)
                await asyncio.wait_for(writer.drain(), 0.5)
                sent += 1
        async with httpx.AsyncClient(base_url=f"http://{address}", timeout=SOON) as client:
            assert (await client.get("/healthz")).status_code == 200
