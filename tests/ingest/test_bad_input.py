"""Everything a stranger may send that is no request: a code, and a sentence they can act on."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest

from ingest.problems import language_of
from ingest.sentences import SENTENCES
from tests.ingest.by_hand import in_outbox
from tests.ingest.conftest import House
from tests.ingest.sounds import coded, silent_hours, video, wav
from tests.ingest.test_jobs import wish

pytestmark = pytest.mark.asyncio(loop_scope="module")
JSON = {"content-type": "application/json"}


def is_problem(answer: Any, status: int, code: str) -> None:
    """`answer` is the problem `code`, in the form every client can rely on."""
    body = answer.json()
    assert (answer.status_code, body.get("code")) == (status, code), body
    assert answer.headers["content-type"] == "application/problem+json"
    assert body["status"] == status
    assert body["type"] == f"urn:voxrelay:problem:{code}"
    assert len(body["detail"]) > 4
    assert "?" not in body["detail"].replace("？", ""), "a fact is missing in the sentence"


BODIES = [
    (b"", "body_not_json"),
    (b"{", "body_not_json"),
    (b"\xff\xfe", "body_not_json"),
    (b"[" * 5_000, "body_not_json"),
    (b'{"text": NaN, }', "body_not_json"),
    (b"null", "fields_invalid"),
    (b"[1, 2]", "fields_invalid"),
    (b'"text"', "fields_invalid"),
    (b"{}", "text_missing"),
]


@pytest.mark.parametrize(("body", "code"), BODIES)
async def test_json_nonsense(shared: House, body: bytes, code: str) -> None:
    async with shared.client() as client:
        answer = await client.post("/v1/jobs", content=body, headers=JSON)
    is_problem(answer, 400 if code == "body_not_json" else 422, code)


FIELDS: list[tuple[dict[str, Any], str]] = [
    ({"text": 1}, "fields_invalid"),
    ({"text": None}, "fields_invalid"),
    ({"text": ["a"]}, "fields_invalid"),
    ({"text": ""}, "text_empty"),
    ({"text": " \n\u200b\u3000"}, "text_empty"),
    ({"text": "\u0000"}, "text_control_characters"),
    ({"text": "a\u0007b"}, "text_control_characters"),
    ({"text": "a\u009bb"}, "text_control_characters"),
    ({"text": "字" * 5_001}, "text_too_long"),
    ({"mode": "shout"}, "mode_unknown"),
    ({"mode": 3}, "mode_unknown"),
    ({"mode": "instruct"}, "instruct_missing"),
    ({"mode": "instruct", "instruct": "  "}, "instruct_missing"),
    ({"instruct": "x" * 501}, "instruct_too_long"),
    ({"instruct": "x\u0001"}, "text_control_characters"),
    ({"style": ""}, "fields_invalid"),
    ({"speed": 0.1}, "fields_invalid"),
    ({"speed": "1.0"}, "fields_invalid"),
    ({"seed": -1}, "fields_invalid"),
    ({"seed": 2**63}, "fields_invalid"),
    ({"seed": 1.5}, "fields_invalid"),
    ({"format": "exe"}, "fields_invalid"),
    ({"language": "not a language"}, "fields_invalid"),
    ({"pcm": {"sample_rate": 1}}, "fields_invalid"),
    ({"pcm": {"sample_rate": 16_000, "channels": 300}}, "fields_invalid"),
    ({"webhok": "typo"}, "fields_invalid"),
    ({"recording": 5}, "fields_invalid"),
    ({"recording": ""}, "recording_missing"),
    ({"recording": "data:audio/wav;base64,"}, "recording_empty"),
    ({"recording": "not base64!"}, "recording_not_base64"),
    ({"recording": "QUJ"}, "recording_not_base64"),
    ({"recording": "录音"}, "recording_not_base64"),
]


@pytest.mark.parametrize(("fields", "code"), FIELDS)
async def test_wrong_fields(shared: House, fields: dict[str, Any], code: str) -> None:
    async with shared.client() as client:
        is_problem(await client.post("/v1/jobs", json={**wish(), **fields}), 422, code)
    assert not await in_outbox(shared)


async def test_a_wrong_field_is_named_and_what_was_sent_is_not_repeated(shared: House) -> None:
    async with shared.client() as client:
        body = {**wish(), "speed": 9, "hunter2": "secret words"}
        answer = await client.post("/v1/jobs", json=body)
    errors = answer.json()["errors"]
    assert {"speed", "(unknown)"} == {error["where"] for error in errors}
    assert "hunter2" not in answer.text
    assert "secret" not in answer.text


def _cut(data: bytes) -> bytes:
    return data[: len(data) * 3 // 5]


def _session() -> bytes:
    """A session description: a decoder that believed it would open a port and wait."""
    return (
        b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n"
    )


def _claims_much() -> bytes:
    """A WAV whose head says two gigabytes."""
    head = bytearray(wav(2.0))
    head[40:44] = (2**31 - 1_000_000).to_bytes(4, "little")
    return bytes(head)


RECORDINGS = {
    "empty file": (lambda: b"", "recording_missing"),
    "text renamed to wav": (lambda: b"Dear diary, today I wrote a test.\n" * 90, "not_audio"),
    "noise": (lambda: np.random.default_rng(1).bytes(50_000), "not_audio"),
    "a playlist": (lambda: b"#EXTM3U\n#EXTINF:5,\nfile:///etc/passwd\n", "not_audio"),
    "a list of files": (lambda: b"ffconcat version 1.0\nfile /etc/passwd\n", "not_audio"),
    "a call to listen": (_session, "not_audio"),
    "a container nobody records with": (lambda: coded("au", "pcm_s16be"), "not_audio"),
    "only a head": (lambda: wav()[:20], "broken"),
    "truncated wav": (lambda: _cut(wav(3.0)), "broken"),
    "truncated m4a": (lambda: _cut(coded("ipod", "aac", 44_100)), "broken"),
    "truncated flac": (lambda: _cut(coded("flac", "flac", seconds=4.0)), "broken"),
    "truncated webm": (lambda: _cut(coded("webm", "libopus", 48_000, seconds=4.0)), "broken"),
    "promises gigabytes": (_claims_much, "broken"),
    "video": (video, "is_video"),
    "two hours in a few kilobytes": (silent_hours, "too_long"),
    "31 seconds": (lambda: wav(31.0, 8_000), "too_long"),
    "too short": (lambda: wav(0.5), "too_short"),
    "300 channels": (lambda: wav(0.1, 8_000, 300), "channels"),
    "1 Hz": (lambda: wav(10.0, 1), "rate"),
    "silent": (lambda: wav(silent=True), "silent"),
}


@pytest.mark.parametrize("name", RECORDINGS)
async def test_bad_recordings(shared: House, name: str) -> None:
    make, code = RECORDINGS[name]
    body = wish(recording=make())
    async with shared.client() as client:
        for language in ("zh", "en"):
            answer = await client.post("/v1/jobs", json=body, headers={"accept-language": language})
            is_problem(answer, 422, f"recording_{code.removeprefix('recording_')}")
    assert not await in_outbox(shared)


async def test_an_empty_upload_is_told_from_a_missing_one(shared: House) -> None:
    async with shared.client() as client:
        empty = {"recording": ("a.wav", b"")}
        answer = await client.post("/v1/jobs", data={"text": "a"}, files=empty)
        is_problem(answer, 422, "recording_empty")
        other = {"photo": ("a.wav", wav())}
        answer = await client.post("/v1/jobs", data={"text": "a"}, files=other)
        is_problem(answer, 422, "recording_missing")


async def test_forms_that_are_none(shared: House) -> None:
    async with shared.client() as client:
        for body, kind in (
            (b"--x\r\n", "multipart/form-data; boundary=x"),
            (b"nothing", "multipart/form-data"),
            (b"--x\r\nno head at all", "multipart/form-data; boundary=x"),
        ):
            answer = await client.post("/v1/jobs", content=body, headers={"content-type": kind})
            assert answer.status_code in (400, 422)
            assert answer.json()["code"] in ("body_not_multipart", "text_missing")
        many = [("recording", ("a", b"x")) for _ in range(3)]
        is_problem(await client.post("/v1/jobs", files=many), 400, "body_not_multipart")
        fields = {"text": "a", "pcm": "[" * 2_000}
        answer = await client.post("/v1/jobs", data=fields, files={"recording": ("a", wav())})
        is_problem(answer, 422, "fields_invalid")


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_other_media_types(shared: House, kind: str) -> None:
    async with shared.client() as client:
        answer = await client.post("/v1/jobs", content=b"text=a", headers={"content-type": kind})
    is_problem(answer, 415, "media_type_unsupported")


async def test_wrong_addresses_and_methods_are_problems_too(shared: House) -> None:
    async with shared.client() as client:
        is_problem(await client.get("/nowhere"), 404, "not_found")
        refused = await client.delete("/v1/jobs")
        is_problem(refused, 405, "method_not_allowed")
        assert "POST" in refused.headers["allow"]
        wrong = await client.get("/v1/jobs", params={"limit": "many"})
        is_problem(wrong, 422, "fields_invalid")
        assert wrong.json()["errors"][0]["where"] == "limit"


async def test_a_body_over_the_limit_is_refused_by_its_head(shared: House) -> None:
    read = False

    async def body() -> AsyncIterator[bytes]:
        nonlocal read
        read = True
        yield b"{}"

    async with shared.client() as client:
        headers = {**JSON, "content-length": "12000001"}
        answer = await client.post("/v1/jobs", content=body(), headers=headers)
    is_problem(answer, 413, "body_too_large")
    assert not read


@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data; boundary=x"])
async def test_a_body_over_the_limit_is_refused_while_it_is_read(shared: House, kind: str) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        yield b'--x\r\nContent-Disposition: form-data; name="recording"; filename="a"\r\n\r\n'
        for _ in range(100):
            sent += 1_000_000
            yield b"x" * 1_000_000

    async with shared.client() as client:
        headers = {"content-type": kind}
        answer = await client.post("/v1/jobs", content=endless(), headers=headers)
    is_problem(answer, 413, "body_too_large")
    assert sent <= 14_000_000, "the rest was not even read"


async def test_the_language_asked_for_is_spoken(shared: House) -> None:
    async with shared.client() as client:
        for asked, expected in (("en-GB,en;q=0.9", "empty"), ("zh-CN", "文本"), ("fr", "文本")):
            headers = {"accept-language": asked}
            answer = await client.post("/v1/jobs", json={**wish(), "text": ""}, headers=headers)
            assert expected in answer.json()["detail"]


@pytest.mark.parametrize(
    ("header", "language"),
    [
        (None, "zh"),
        ("", "zh"),
        ("en", "en"),
        ("EN-us", "en"),
        ("fr, en;q=0.5, zh;q=0.7", "zh"),
        ("zh;q=0, en;q=0.1", "en"),
        ("en;q=0", "zh"),
        ("en;q=x", "zh"),
        (";;q=,,", "zh"),
    ],
)
async def test_the_language_of_a_header(header: str | None, language: str) -> None:
    assert language_of(header) == language


async def test_every_code_has_two_sentences_and_a_status() -> None:
    for code, sentence in SENTENCES.items():
        assert sentence.en.endswith((".", ".)")), code
        assert sentence.zh.endswith(("。", "。）")), code
        assert 200 <= sentence.status < 600


async def test_base64_may_be_a_data_url_and_may_hold_line_breaks(shared: House) -> None:
    plain = base64.encodebytes(wav()).decode()
    async with shared.client() as client:
        for spelled in (plain, f"data:audio/webm;codecs=opus;base64,{plain}"):
            answer = await client.post("/v1/jobs", json={**wish(), "recording": spelled})
            assert answer.status_code == 202, answer.text
