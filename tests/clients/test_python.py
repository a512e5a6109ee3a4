"""The Python client, both forms, against a real gateway; jobs are moved by writing their events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio

from ingest.uploads import Uploads
from relay.errors import Unavailable
from tests.ingest.by_hand import SOUND, Chain, jobs_of, next_job
from tests.ingest.conftest import SOON, House, house, served
from tests.ingest.sounds import wav
from voxrelay_client import (
    AsyncClient,
    Client,
    Event,
    Job,
    NotSpoken,
    Refused,
    Unreachable,
    wire,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

TEXT = "你好，世界"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with house(tmp_path_factory.mktemp("client")) as opened:
        yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def url(gateway: House) -> AsyncIterator[str]:
    async with served(gateway) as address:
        yield f"http://{address}"


class Threaded:
    """The blocking client, awaited: each of its calls runs in a thread."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        async def call(*args: Any, **kwargs: Any) -> Any:
            return await asyncio.to_thread(getattr(self._client, name), *args, **kwargs)

        return call

    async def events(self, *args: Any, **kwargs: Any) -> AsyncIterator[Event]:
        stream = self._client.events(*args, **kwargs)
        while (event := await asyncio.to_thread(next, stream, None)) is not None:
            yield event


class Cut(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """A line that breaks after the first event of each of the first `times` streams.

    Where it ends `politely`, as a gateway that stops ends it, nothing is wrong with the answer.
    """

    def __init__(self, times: int, politely: bool) -> None:
        self.left, self._politely = times, politely
        self._blocking, self._waiting = httpx.HTTPTransport(), httpx.AsyncHTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self._maybe_cut(self._blocking.handle_request(request))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return self._maybe_cut(await self._waiting.handle_async_request(request))

    def close(self) -> None:
        self._blocking.close()

    async def aclose(self) -> None:
        await self._waiting.aclose()

    def _maybe_cut(self, response: httpx.Response) -> httpx.Response:
        if "event-stream" not in response.headers.get("content-type", "") or not self.left:
            return response
        self.left -= 1
        return httpx.Response(
            response.status_code,
            headers=response.headers,
            stream=_Broken(response.stream, self._politely),
            extensions=response.extensions,
        )


class _Broken(httpx.SyncByteStream, httpx.AsyncByteStream):
    def __init__(self, stream: Any, politely: bool) -> None:
        self._stream, self._politely = stream, politely

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._stream:
            yield chunk
            if b"data:" in chunk:
                return self._end()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            yield chunk
            if b"data:" in chunk:
                self._end()
                return

    def _end(self) -> None:
        if not self._politely:
            raise httpx.ReadError("cut")

    def close(self) -> None:
        self._stream.close()

    async def aclose(self) -> None:
        await self._stream.aclose()


@asynccontextmanager
async def client_of(form: str, url: str, **options: Any) -> AsyncIterator[Any]:
    if form == "blocking":
        with Client(url, **options) as blocking:
            yield Threaded(blocking)
    else:
        async with AsyncClient(url, **options) as waiting:
            yield waiting


@pytest.fixture(params=["blocking", "async"])
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest_asyncio.fixture(loop_scope="module")
async def client(form: str, url: str) -> AsyncIterator[Any]:
    async with client_of(form, url) as opened:
        yield opened


async def moved(gateway: House, before: set[str], *steps: str) -> str:
    """Let the next accepted job go through `steps`; its id."""
    job = await next_job(gateway, before)
    chain = await Chain.of(gateway, job)
    for step in steps:
        await getattr(chain, step)()
    return job


async def test_a_text_and_a_recording_come_back_as_sound(
    gateway: House, client: Any, tmp_path: Path
) -> None:
    recording = tmp_path / "me.wav"
    recording.write_bytes(wav())
    moving = asyncio.create_task(
        moved(gateway, await jobs_of(gateway), "uploaded", "approved", "delivered")
    )
    async with asyncio.timeout(SOON):
        speech = await client.speak(TEXT, recording, format="wav", speed=1.5)
    assert speech.job.job_id == await moving
    assert speech.data == SOUND
    assert speech.job.audio.format == "wav"
    assert [step.state for step in speech.job.steps] == [
        "uploaded",
        "approved",
        "delivered",
    ]


async def test_a_job_that_ends_without_speech_says_why(gateway: House, client: Any) -> None:
    moving = asyncio.create_task(moved(gateway, await jobs_of(gateway), "uploaded", "rejected"))
    async with asyncio.timeout(SOON):
        with pytest.raises(NotSpoken, match="含有违禁词") as ended:
            await client.speak(TEXT, wav())
    assert ended.value.job.job_id == await moving
    assert ended.value.job.reasons[0].code == "word_forbidden"


async def test_the_same_key_is_the_same_job(client: Any) -> None:
    key = str(uuid4())
    first, again = await client.send(TEXT, wav(), key=key), await client.send(TEXT, wav(), key=key)
    other = await client.send(TEXT, wav())
    assert first.job_id == again.job_id != other.job_id


async def test_a_voice_is_saved_from_parts_spoken_in_shared_and_revoked(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "PIECE", 10_000)
    assert (await client.catalogue())["limits"]["variants"] == 8
    upload = await client.upload(wav())
    assert await client.upload(wav(), resume=upload) == upload
    voice = await client.save_voice("me", None, "I agree", upload=upload, language="en")
    assert (voice.mine, voice.statement, voice.language) == (True, "I agree", "en")
    assert (await client.rename_voice(voice.id, "mine")).name == "mine"
    manners = [{"style": "gentle"}, {"style": "sichuan", "speed": 1.5}]
    job = await client.send(TEXT, voice=voice.id, variants=manners)
    assert [each.variant for each in job.variants] == ["gentle", "sichuan, ×1.5"]
    by_form = await client.send(TEXT, wav(), variants=manners)
    assert len(by_form.variants) == 2
    share = await client.share_voice(voice.id, days=3)
    assert (await client.accept_voice(share.code)).id == voice.id
    await client.unshare_voice(voice.id, share.id)
    await client.revoke_voice(voice.id)
    assert voice.id not in {each.id for each in await client.voices()}
    with pytest.raises(Refused) as revoked:
        await client.send(TEXT, voice=voice.id)
    assert revoked.value.code == "voice_revoked"


async def test_an_upload_goes_on_where_a_part_came_although_nobody_said_so(
    gateway: House, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "PIECE", 10_000)
    uploads = gateway.app.state.gateway.uploads
    append, appended = uploads.append, list[int]()

    async def unheard(person: Any, upload: Any, data: bytes) -> Any:
        further = await append(person, upload, data)
        appended.append(len(data))
        if len(appended) == 2:
            raise Unavailable("the answer is lost")
        return further

    monkeypatch.setattr(uploads, "append", unheard)
    upload = await client.upload(wav())
    assert sum(appended) == len(wav())
    assert (await client.send(TEXT, upload=upload)).state == "accepted"


async def test_an_upload_that_broke_off_is_gone_on_with_later(
    form: str, url: str, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "PIECE", 10_000)
    monkeypatch.setattr(Uploads, "append", _full)
    async with client_of(form, url, patience=0.1) as hasty:
        with pytest.raises(Unreachable) as broken:
            await hasty.upload(wav())
    monkeypatch.undo()
    upload = broken.value.upload
    assert await client.upload(wav(), resume=upload) == upload
    assert (await client.send(TEXT, upload=upload)).state == "accepted"


async def _full(*_: Any) -> Any:
    raise Unavailable("no store")


async def test_a_refusal_carries_its_code_and_a_sentence(client: Any) -> None:
    with pytest.raises(Refused, match="empty") as empty:
        await client.send("  ", wav())
    assert (empty.value.status, empty.value.code) == (422, "text_empty")
    with pytest.raises(Refused) as wrong:
        await client.send(TEXT, wav(), speed=9)
    assert wrong.value.errors[0]["where"] == "speed"
    with pytest.raises(Refused) as unknown:
        await client.job(uuid4())
    assert unknown.value.code == "job_unknown"
    with pytest.raises(Refused) as stranger:
        [event async for event in client.events(uuid4())]
    assert stranger.value.code == "job_unknown"
    with pytest.raises(ValueError, match="UUID"):
        await client.job("../../metrics")


async def test_a_history_is_read_page_by_page(client: Any) -> None:
    sent = [(await client.send(TEXT, wav())).job_id for _ in range(3)]
    first = await client.jobs(limit=2)
    second = await client.jobs(limit=2, cursor=first.cursor)
    assert [job.job_id for job in (*first.jobs, *second.jobs)][:3] == sent[::-1]


@pytest.mark.parametrize("politely", [False, True])
async def test_a_line_that_breaks_is_mended_and_no_event_is_missed_or_comes_twice(
    gateway: House, form: str, url: str, politely: bool
) -> None:
    line = Cut(times=3, politely=politely)
    async with client_of(form, url, transport=line) as client:
        job: Job = await client.send(TEXT, wav())
        chain = await Chain.of(gateway, job.job_id)
        for step in (chain.uploaded, chain.approved, chain.delivered):
            await step()
        async with asyncio.timeout(SOON):
            seen = [(event.seq, event.state) async for event in client.events(job.job_id)]
        assert seen == [(0, "accepted"), (1, "uploaded"), (2, "approved"), (3, "delivered")]
        assert line.left == 0
        assert [event async for event in client.events(job.job_id, after=3)] == []


async def test_a_gateway_that_is_not_there_is_unreachable(form: str) -> None:
    async with client_of(form, "http://127.0.0.1:9", patience=0.1) as client:
        with pytest.raises(Unreachable):
            await client.send(TEXT, wav())


class Busy(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """A gateway that cannot, twice, and then has a quota."""

    def __init__(self) -> None:
        self.keys: list[str] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.keys.append(request.headers["idempotency-key"])
        if len(self.keys) < 3:
            return httpx.Response(503, json={"detail": "not now"})
        return httpx.Response(429, json={"code": "quota_exceeded"}, headers={"retry-after": "7"})

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return self.handle_request(request)


async def test_a_gateway_that_cannot_is_asked_again_under_the_same_key(form: str) -> None:
    line = Busy()
    async with client_of(form, "http://gateway", transport=line) as client:
        with pytest.raises(Refused) as refused:
            await client.send(TEXT, wav())
    assert refused.value.retry_after == 7
    assert len(line.keys) == 3
    assert len(set(line.keys)) == 1


async def test_without_patience_nothing_is_sent_again(form: str) -> None:
    line = Busy()
    async with client_of(form, "http://gateway", patience=0, transport=line) as client:
        with pytest.raises(Unreachable, match="not now"):
            await client.send(TEXT, wav())
    assert len(line.keys) == 1


async def test_without_patience_a_stream_that_breaks_off_is_at_its_end(form: str) -> None:
    class Gone(httpx.BaseTransport, httpx.AsyncBaseTransport):
        asked = 0

        def handle_request(self, request: httpx.Request) -> httpx.Response:
            self.asked += 1
            raise httpx.ReadError("gone")

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            return self.handle_request(request)

    line = Gone()
    async with client_of(form, "http://gateway", patience=0, transport=line) as client:
        with pytest.raises(Unreachable):
            [event async for event in client.events(uuid4())]
    assert line.asked == 1


async def test_sound_that_came_in_part_is_not_taken_for_whole(gateway: House, client: Any) -> None:
    job = await client.send(TEXT, wav())
    chain = await Chain.of(gateway, job.job_id)
    await chain.delivered()
    found = await client.job(job.job_id)
    assert await client.audio(found) == SOUND
    with pytest.raises(Unreachable, match="whole"):
        wire.whole(found, SOUND[:-1])
