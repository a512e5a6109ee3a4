"""Recordings in parts: at two gateways of one site, over bad lines, and from clients that err."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import websockets
from sqlalchemy import func, select, update
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from audit import erasure
from ingest import uploads as parts
from ingest.doors.uploads import _pieces
from ingest.problems import Problem
from relay.errors import Unavailable
from relay.log.sqlite import SqliteLog
from relay.sql.schema import upload_parts, uploads
from relay.sweep import Sweeper, _rows
from tests.ingest.by_hand import Chain
from tests.ingest.conftest import SOON, House, house, served
from tests.ingest.sounds import wav
from tests.ingest.test_accept import Pair, pair  # noqa: F401 - a fixture
from tests.ingest.test_jobs import send
from tests.sql import until

OCTETS = {"content-type": "application/offset+octet-stream", "tus-resumable": "1.0.0"}


async def begun(client: httpx.AsyncClient, length: int | None = None) -> str:
    """Where an upload just begun is; of a length that is not known if none is given."""
    told = {"upload-defer-length": "1"} if length is None else {"upload-length": str(length)}
    answer = await client.post("/v1/uploads", headers=told)
    assert answer.status_code == 201, answer.text
    return str(answer.headers["location"])


async def patch(
    client: httpx.AsyncClient, at: str, offset: int, data: bytes, **more: str
) -> httpx.Response:
    return await client.patch(
        at, headers={**OCTETS, "upload-offset": str(offset), **more}, content=data
    )


async def offset_of(client: httpx.AsyncClient, at: str) -> int:
    answer = await client.head(at)
    assert answer.status_code == 200
    return int(answer.headers["upload-offset"])


async def kept(house: House, at: str) -> bytes:
    """What an upload holds."""
    id_ = UUID(at.rpartition("/")[2])
    async with house.database.reading() as tx:
        query = select(uploads.c.person).where(uploads.c.id == id_)
        person = (await tx.execute(query)).scalar_one()
    whole: bytes = await house.app.state.gateway.uploads.read(person, id_)
    return whole


async def objects(house: House) -> int:
    return len([stat async for stat in house.objects.list("upload/")])


async def rows(house: House) -> tuple[int, int]:
    async with house.database.reading() as tx:
        counts = [
            (await tx.execute(select(func.count()).select_from(table))).scalar_one()
            for table in (uploads, upload_parts)
        ]
    return counts[0], counts[1]


def refused(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


async def test_parts_go_to_any_gateway_and_only_in_order(pair: Pair) -> None:  # noqa: F811
    one, other = pair
    sound = wav()
    async with one.client() as here, other.client() as there:
        at = await begun(here, len(sound))
        assert (await patch(there, at, 0, sound[:30_000])).headers["upload-offset"] == "30000"
        for wrong in (0, 10_000, 60_000):
            answer = await patch(here, at, wrong, sound[wrong:])
            assert refused(answer) == (409, "offset_mismatch")
            assert answer.headers["upload-offset"] == "30000"
        with pytest.raises(Problem, match="upload_incomplete"):
            await kept(one, at)
        tunnel = {**OCTETS, "upload-offset": "30000", "x-http-method-override": "PATCH"}
        rest = await here.post(at, headers=tunnel, content=sound[30_000:])
        assert (rest.status_code, rest.headers["upload-offset"]) == (204, str(len(sound)))
        assert refused(await patch(here, at, len(sound), b"!")) == (413, "upload_too_large")
        assert await kept(other, at) == sound
        assert (await there.delete(at)).status_code == 204
        assert (await here.head(at)).status_code == 404
    assert await rows(one) == (0, 0)
    assert await objects(one) == 0


async def test_of_those_who_go_on_at_once_one_does(pair: Pair) -> None:  # noqa: F811
    one, other = pair
    bodies = [bytes([n]) * 5_000 for n in range(6)]
    async with one.client() as here, other.client() as there:
        at = await begun(here)
        line = zip((here, there) * 3, bodies, strict=True)
        said = await asyncio.gather(*(patch(client, at, 0, data) for client, data in line))
        assert sorted(answer.status_code for answer in said) == [204] + [409] * 5
        (won,) = [n for n, answer in enumerate(said) if answer.status_code == 204]
        assert (await patch(there, at, 5_000, b"", **{"upload-length": "5000"})).is_success
    assert await kept(one, at) == bodies[won]
    assert await objects(one) == 1, "what lost is not left behind"


async def test_a_gateway_that_dies_before_its_commit_costs_one_piece(
    pair: Pair,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one, other = pair
    async with one.client() as here, other.client() as there:
        at = await begun(here, 2_000)

        async def dies(*_: Any) -> None:
            raise Unavailable("killed between the object and its row")

        monkeypatch.setattr(one.app.state.gateway.uploads, "_append", dies)
        assert refused(await patch(here, at, 0, b"a" * 1_000)) == (503, "unavailable")
        assert (await objects(one), await offset_of(there, at)) == (1, 0)
        assert (await patch(there, at, 0, b"a" * 1_000)).is_success, "the same is found there"
        assert (await patch(there, at, 1_000, b"b" * 1_000)).is_success
    assert await kept(other, at) == b"a" * 1_000 + b"b" * 1_000
    assert await objects(one) == 2


async def test_a_cut_line_costs_nothing_that_was_safe(
    gateway: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.doors.uploads.PIECE", 15_000)
    sound = wav()
    async with served(gateway) as address, httpx.AsyncClient(base_url=f"http://{address}") as http:
        at = await begun(http, len(sound))
        host, port = address.split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        head = f"PATCH {at} HTTP/1.1\r\nHost: {host}\r\nUpload-Offset: 0\r\n"
        head += f"Content-Type: {OCTETS['content-type']}\r\nContent-Length: {len(sound)}\r\n\r\n"
        writer.write(head.encode() + sound[:20_000])

        async def safe() -> bool:
            return await offset_of(http, at) >= 15_000

        await until(safe, SOON)
        writer.close()
        answer = await patch(http, at, (came := await offset_of(http, at)), sound[came:])
        while answer.status_code == 409:  # the rest of the first line was still being written
            came = int(answer.headers["upload-offset"])
            answer = await patch(http, at, came, sound[came:])
        assert answer.status_code == 204
    assert await kept(gateway, at) == sound


async def test_of_a_body_that_breaks_off_what_came_is_passed_on() -> None:
    coming = [
        {"type": "http.request", "body": b"abc", "more_body": True},
        {"type": "http.request", "body": b"de", "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive() -> Any:
        return coming.pop(0)

    pieces = _pieces(Request({"type": "http"}, receive))
    assert await anext(pieces) == b"abcde"
    with pytest.raises(ClientDisconnect):
        await anext(pieces)


async def test_pieces_of_a_long_body_are_safe_one_by_one(
    gateway: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.doors.uploads.PIECE", 10_000)
    sound = wav()
    async with gateway.client() as client:
        at = await begun(client, len(sound))
        assert (await patch(client, at, 0, sound)).is_success
    assert await kept(gateway, at) == sound
    assert (await rows(gateway))[1] == -(-len(sound) // 10_000)


async def test_there_are_so_many_and_no_larger_ones(
    gateway: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = parts.UploadLimits(each=5_000, count=2, total=8_000, life=timedelta(hours=1))
    monkeypatch.setattr(gateway.app.state.gateway.uploads, "limits", limits)
    monkeypatch.setattr(parts, "MOST_PIECES", 2)
    async with gateway.client() as client:
        told = await client.options("/v1/uploads", headers={"tus-resumable": "0.2.2"})
        assert told.headers["tus-max-size"] == "5000"
        large = await client.post("/v1/uploads", headers={"upload-length": "5001"})
        assert refused(large) == (413, "upload_too_large")
        at = await begun(client, 3_000)
        await begun(client)  # counts as the largest there is
        third = await client.post("/v1/uploads", headers={"upload-length": "0"})
        assert refused(third) == (429, "uploads_exceeded")
        assert 1 <= int(third.headers["retry-after"]) <= 3_600
        for n in range(2):
            assert (await patch(client, at, n, b"x")).is_success
        assert refused(await patch(client, at, 2, b"x")) == (422, "upload_parts_exceeded")
        assert await objects(gateway) == 2


async def test_nobody_is_locked_out_by_uploads_whose_answer_was_lost(
    gateway: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = parts.UploadLimits(each=5_000, count=3, total=9_000, life=timedelta(hours=1))
    monkeypatch.setattr(gateway.app.state.gateway.uploads, "limits", limits)
    async with gateway.client() as client:
        used = await begun(client, 3_000)
        await patch(client, used, 0, b"x")
        lost = [await begun(client, 3_000) for _ in range(2)]
        soon = await client.post("/v1/uploads", headers={"upload-length": "3000"})
        assert refused(soon) == (429, "uploads_exceeded")
        assert int(soon.headers["retry-after"]) <= parts.IDLE.total_seconds()
        monkeypatch.setattr(parts, "IDLE", timedelta(0))
        assert await begun(client, 3_000)
        assert [(await client.head(each)).status_code for each in lost] == [404, 404]
        assert await offset_of(client, used) == 1, "what has come stays"
    assert await rows(gateway) == (2, 1)


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, (400, "upload_length_missing")),
        ({"upload-length": "5", "upload-defer-length": "1"}, (400, "upload_length_missing")),
        ({"upload-length": "-1"}, (422, "fields_invalid")),
        ({"upload-length": "5", "tus-resumable": "0.2.2"}, (412, "tus_version_unknown")),
    ],
)
async def test_what_is_no_beginning_is_refused(
    gateway: House, headers: dict[str, str], code: tuple[int, str]
) -> None:
    async with gateway.client() as client:
        answer = await client.post("/v1/uploads", headers=headers)
    assert refused(answer) == code
    assert answer.headers["tus-resumable"] == "1.0.0"
    assert await rows(gateway) == (0, 0)


async def test_what_is_no_part_is_refused(gateway: House) -> None:
    async with gateway.client() as client:
        at = await begun(client, 10)
        wrong = {"upload-offset": "0", "content-type": "audio/wav"}
        answer = await client.patch(at, headers=wrong, content=b"abc")
        assert refused(answer) == (415, "upload_media_type_unsupported")
        answer = await client.post(at, headers={**OCTETS, "upload-offset": "0"}, content=b"abc")
        assert refused(answer) == (405, "method_not_allowed")
        assert refused(await patch(client, "/v1/uploads/7", 0, b"a")) == (404, "upload_unknown")
        ghost = f"/v1/uploads/{uuid4()}"
        assert refused(await patch(client, ghost, 0, b"a")) == (404, "upload_unknown")
        longer = await patch(client, at, 0, b"a", **{"upload-length": "11"})
        assert refused(longer) == (422, "upload_length_fixed")
        assert await offset_of(client, at) == 0
    assert await objects(gateway) == 0


async def test_when_its_time_is_up_it_is_told_and_swept(
    pair: Pair,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    house, _ = pair
    monkeypatch.setattr("relay.sweep.AGE", timedelta(seconds=-60))  # old enough at once
    sweeper = Sweeper(house.database, house.objects, SqliteLog(Path("nowhere")))
    async with house.client() as client:
        await send(client)  # with a job under way, nothing else of theirs would be swept
        at = await begun(client, 10)
        await patch(client, at, 0, b"abc")
        async with house.database.transaction() as tx:
            past = tx.now - timedelta(seconds=1)
            await tx.execute(update(uploads).values(expires_at=past))
        assert refused(await patch(client, at, 3, b"d")) == (410, "upload_expired")
        assert await objects(house) == 1
    lying = [stat async for stat in house.objects.list("")]
    assert await sweeper._sweep(lying) == 1
    assert await objects(house) == 0
    async with house.database.transaction() as tx:
        await tx.execute(update(uploads).values(expires_at=tx.now - timedelta(days=2)))
    await house.database.run(lambda tx: _rows(tx, timedelta(days=190)))
    assert await rows(house) == (0, 0)


async def test_a_retry_is_answered_as_before_though_its_upload_has_expired(
    pair: Pair,  # noqa: F811
) -> None:
    house, other = pair
    sound = wav()
    async with house.client() as client, other.client() as there:
        at = await begun(client, len(sound))
        await patch(client, at, 0, sound)
        wish = {"text": "你好", "upload": at.rpartition("/")[2]}
        first = await client.post("/v1/jobs", json=wish, headers={"idempotency-key": "k"})
        assert first.status_code == 202, first.text
        async with house.database.transaction() as tx:
            await tx.execute(update(uploads).values(expires_at=tx.now))

        async def again(key: str = "k", **other: str) -> httpx.Response:
            head = {"idempotency-key": key}
            return await there.post("/v1/jobs", json={**wish, **other}, headers=head)

        assert refused(await again()) == (410, "upload_expired"), "nobody knows yet what it was"
        await (await Chain.of(house, first.json()["job_id"])).uploaded()
        same = await again()
        assert (same.status_code, same.json()["job_id"]) == (202, first.json()["job_id"])
        assert refused(await again(text="再见")) == (422, "idempotency_key_reused")
        assert refused(await again(key="another")) == (410, "upload_expired")
        assert len((await there.get("/v1/jobs")).json()["jobs"]) == 1


async def test_an_erasure_takes_what_is_half_there(pair: Pair) -> None:  # noqa: F811
    house, _ = pair
    async with house.client() as client:
        at = await begun(client, 10)
        await patch(client, at, 0, b"abc")
        async with house.database.reading() as tx:
            person = (await tx.execute(select(uploads.c.person))).scalar_one()
        await erasure.begin(house.database, house.keys, "voxrelay://local", person, "op")
        assert await rows(house) == (0, 0)
        assert refused(await patch(client, at, 3, b"d")) == (404, "upload_unknown")
        late = await client.post("/v1/uploads", headers={"upload-length": "5"})
        assert refused(late) == (410, "person_erased")


async def test_a_socket_takes_frames_and_goes_on_after_a_cut_line(gateway: House) -> None:
    sound = wav()
    async with served(gateway) as address:
        url = f"ws://{address}/v1/uploads/ws"
        async with websockets.connect(url) as line:
            await line.send('{"type": "begin"}')
            first = json.loads(await line.recv())
            assert (first["type"], first["offset"]) == ("upload", 0)
            await line.send(sound[:20_000])
            assert json.loads(await line.recv()) == {"type": "offset", "offset": 20_000}
            line.transport.abort()
        async with websockets.connect(url) as line:
            await line.send(json.dumps({"type": "resume", "upload": first["upload"]}))
            at = json.loads(await line.recv())["offset"]
            assert at == 20_000
            while at < len(sound):
                await line.send(sound[at : at + 10_000])
                at = json.loads(await line.recv())["offset"]
            await line.send('{"type": "end"}')
            done = {"type": "done", "upload": first["upload"], "bytes": len(sound)}
            assert json.loads(await line.recv()) == done
            with pytest.raises(websockets.ConnectionClosedOK):
                await line.recv()
    assert await kept(gateway, first["upload"]) == sound


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["nonsense"], "request_invalid"),
        ([b"bytes before an upload"], "request_invalid"),
        (['{"type": "resume"}'], "request_invalid"),
        ([json.dumps({"type": "resume", "upload": str(uuid4())})], "upload_unknown"),
        (['{"type": "begin", "length": 99000000}'], "upload_too_large"),
        (['{"type": "begin", "length": 9}', b"abc", '{"type": "end"}'], "upload_incomplete"),
        (['{"type": "begin", "length": 2}', b"abc"], "upload_too_large"),
        (['{"type": "begin"}', '{"type": "begin"}'], "request_invalid"),
    ],
)
async def test_a_socket_says_what_is_wrong_and_hangs_up(
    gateway: House, words: list[str | bytes], code: str
) -> None:
    async with (
        served(gateway) as address,
        websockets.connect(f"ws://{address}/v1/uploads/ws") as line,
    ):
        for word in words:
            await line.send(word)
            said = json.loads(await line.recv())
        assert (said["type"], said["code"]) == ("error", code)
        assert said["message"]
        with pytest.raises(websockets.ConnectionClosed):
            await line.recv()


async def test_whoever_has_gone_when_they_are_refused_is_no_bug(gateway: House) -> None:
    heard = iter(["connect", "receive"])
    said: list[str] = []

    async def receive() -> dict[str, Any]:
        return {"type": f"websocket.{next(heard)}", "text": "nonsense"}

    async def send(message: Message) -> None:
        said.append(message["type"])
        if message["type"] == "websocket.send":
            raise OSError("they have gone")

    await gateway.app(
        {
            "type": "websocket",
            "scheme": "ws",
            "path": "/v1/uploads/ws",
            "query_string": b"",
            "headers": [],
            "client": ("127.0.0.1", 1),
        },
        receive,
        send,
    )
    assert said == ["websocket.accept", "websocket.send"]


async def test_a_socket_that_says_nothing_is_hung_up(tmp_path: Path) -> None:
    async with (
        house(tmp_path, body_seconds=0.05) as hasty,
        served(hasty) as address,
        websockets.connect(f"ws://{address}/v1/uploads/ws") as line,
    ):
        assert json.loads(await line.recv())["code"] == "body_too_slow"
