"""Sound at signed addresses: whole, in ranges, expired and forged."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import pytest_asyncio

from ingest.links import Links
from ingest.problems import Problem
from ingest.ranges import span_of
from tests.ingest.by_hand import SOUND, Chain
from tests.ingest.conftest import House
from tests.ingest.test_jobs import wish

pytestmark = pytest.mark.asyncio(loop_scope="module")
SIZE = len(SOUND)


@pytest_asyncio.fixture(loop_scope="module")
async def client(shared: House) -> AsyncIterator[httpx.AsyncClient]:
    async with shared.client() as client:
        yield client


async def delivered(house: House, client: httpx.AsyncClient) -> dict[str, Any]:
    """A delivered job, as its person sees it."""
    job = (await client.post("/v1/jobs", json=wish())).json()["job_id"]
    chain = await Chain.of(house, job)
    await chain.uploaded()
    await chain.delivered()
    shown: dict[str, Any] = (await client.get(f"/v1/jobs/{job}")).json()
    return shown


async def test_the_audio_and_the_recording_are_heard_by_whoever_has_the_address(
    shared: House, client: httpx.AsyncClient
) -> None:
    job = await delivered(shared, client)
    async with shared.client("198.51.100.7") as player:
        audio = await player.get(job["audio"]["url"])
        assert (audio.status_code, audio.content) == (200, SOUND)
        assert audio.headers["content-type"] == "audio/mpeg"
        assert audio.headers["accept-ranges"] == "bytes"
        assert f"voxrelay-{job['job_id']}.mp3" in audio.headers["content-disposition"]
        recording = await player.get(job["recording"]["url"])
        assert recording.content.startswith(b"fLaC")
        assert recording.headers["content-type"] == "audio/flac"
        head = await player.head(job["audio"]["url"])
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == str(SIZE)


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-", 0, SIZE),
        ("bytes=100-199", 100, 200),
        ("bytes=-10", SIZE - 10, SIZE),
        (f"bytes={SIZE - 1}-{SIZE + 500}", SIZE - 1, SIZE),
        ("bytes=-999999999", 0, SIZE),
    ],
)
async def test_ranges(
    shared: House, client: httpx.AsyncClient, asked: str, start: int, end: int
) -> None:
    job = await delivered(shared, client)
    part = await client.get(job["audio"]["url"], headers={"range": asked})
    assert part.status_code == 206
    assert part.content == SOUND[start:end]
    assert part.headers["content-range"] == f"bytes {start}-{end - 1}/{SIZE}"
    assert part.headers["content-length"] == str(end - start)


async def test_ranges_that_cannot_be_and_those_that_are_passed_over(
    shared: House, client: httpx.AsyncClient
) -> None:
    url = (await delivered(shared, client))["audio"]["url"]
    for beyond in (f"bytes={SIZE}-", "bytes=-0"):
        answer = await client.get(url, headers={"range": beyond})
        assert (answer.status_code, answer.json()["code"]) == (416, "range_unsatisfiable")
        assert answer.headers["content-range"] == f"bytes */{SIZE}"
    for other in ("bytes=5-2", "bytes=0-1,4-5", "seconds=1-2", "bytes=-", "nonsense"):
        answer = await client.get(url, headers={"range": other})
        assert (answer.status_code, len(answer.content)) == (200, SIZE)


async def test_a_file_that_was_seen_is_not_sent_again(
    shared: House, client: httpx.AsyncClient
) -> None:
    url = (await delivered(shared, client))["audio"]["url"]
    etag = (await client.get(url)).headers["etag"]
    assert (await client.get(url, headers={"if-none-match": etag})).status_code == 304
    resumed = {"range": "bytes=5-", "if-range": etag}
    assert (await client.get(url, headers=resumed)).status_code == 206
    changed = {"range": "bytes=5-", "if-range": '"another"'}
    assert (await client.get(url, headers=changed)).status_code == 200


async def test_a_tampered_address_is_refused(shared: House, client: httpx.AsyncClient) -> None:
    job, other = await delivered(shared, client), await delivered(shared, client)
    url = httpx.URL(job["audio"]["url"])
    expires, signature = url.params["expires"], url.params["signature"]
    bare = url.copy_with(query=None)
    forged = [
        url.copy_with(path=url.path.replace("/audio", "/recording")),
        url.copy_with(path=url.path.replace(job["job_id"], other["job_id"])),
        bare.copy_with(params={"expires": str(int(expires) + 60), "signature": signature}),
        bare.copy_with(params={"expires": expires, "signature": signature[:-1] + "x"}),
        bare.copy_with(params={"expires": expires, "signature": ""}),
        bare.copy_with(params={"expires": expires, "signature": "签名"}),
        bare.copy_with(params={"expires": "never", "signature": signature}),
        bare.copy_with(params={"expires": "9" * 40, "signature": signature}),
        bare.copy_with(params={"expires": "²", "signature": signature}),
        bare,
    ]
    for address in forged:
        answer = await client.get(address)
        assert (answer.status_code, answer.json()["code"]) == (403, "link_invalid"), address


async def test_an_address_is_good_for_minutes() -> None:
    links = Links(b"secret", timedelta(minutes=15))
    now, job = datetime(2030, 1, 1, tzinfo=UTC), uuid4()
    url = httpx.URL(links.path(job, "audio", now))

    def check(at: datetime, by: Links = links, of: UUID = job) -> None:
        by.check(of, "audio", url.params["expires"], url.params["signature"], at)

    check(now)
    check(now + timedelta(minutes=14, seconds=59))
    with pytest.raises(Problem, match="link_expired"):
        check(now + timedelta(minutes=15))
    with pytest.raises(Problem, match="link_invalid"):
        check(now, by=Links(b"another", timedelta(minutes=15)))


async def test_an_expired_address_says_so(shared: House, client: httpx.AsyncClient) -> None:
    job = await delivered(shared, client)
    links: Links = shared.app.state.gateway.links
    past = shared.database.now() - timedelta(hours=1)
    answer = await client.get(links.path(UUID(job["job_id"]), "audio", past))
    assert (answer.status_code, answer.json()["code"]) == (403, "link_expired")


async def test_sound_that_is_not_there(shared: House, client: httpx.AsyncClient) -> None:
    links: Links = shared.app.state.gateway.links
    now = shared.database.now()
    accepted = UUID((await client.post("/v1/jobs", json=wish())).json()["job_id"])
    early = await client.get(links.path(accepted, "audio", now))
    assert (early.status_code, early.json()["code"]) == (409, "audio_not_ready")
    nowhere = await client.get(links.path(uuid4(), "audio", now))
    assert nowhere.json()["code"] == "job_unknown"
    job = await delivered(shared, client)
    async for stat in shared.objects.list("delivered/"):
        if stat.key.endswith(job["job_id"]):
            await shared.objects.delete(stat.key)
    gone = await client.get(job["audio"]["url"])
    assert (gone.status_code, gone.json()["code"]) == (410, "audio_gone")


async def test_a_store_that_signs_by_itself_is_asked_for_the_address(
    shared: House, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await delivered(shared, client)
    asked: list[tuple[str, timedelta, str]] = []

    def url(store: object, key: str, lifetime: timedelta, filename: str) -> str:
        asked.append((key, lifetime, filename))
        return "https://store.example/signed"

    monkeypatch.setattr(type(shared.objects), "url", url)
    shown = (await client.get(f"/v1/jobs/{job['job_id']}")).json()
    assert shown["audio"]["url"] == "https://store.example/signed"
    assert timedelta(minutes=15) in {lifetime for _, lifetime, _ in asked}


def spans() -> list[tuple[str | None, int, tuple[int, int] | None]]:
    return [
        (None, 10, None),
        ("", 10, None),
        ("bytes=2-4", 10, (2, 5)),
        (" bytes=2-4 ", 10, (2, 5)),
        ("bytes=2-", 10, (2, 10)),
        ("bytes=-3", 10, (7, 10)),
        ("bytes=0-99", 10, (0, 10)),
        ("bytes=1-2-3", 10, None),
        ("bytes=" + "9" * 30 + "-", 10, None),
    ]


@pytest.mark.parametrize(("header", "size", "span"), spans())
async def test_span_of(header: str | None, size: int, span: tuple[int, int] | None) -> None:
    assert span_of(header, size) == span
