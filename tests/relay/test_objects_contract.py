"""One contract over every object store: a folder; MinIO plain and over TLS, in both addressings."""

import asyncio
import hashlib
import os
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from minio.versioningconfig import ENABLED, VersioningConfig

from relay.errors import BadRecord, Misconfigured, Missing, Unavailable
from relay.objects.disk import DiskStore
from relay.objects.open import open_store
from relay.objects.port import ObjectStore
from relay.objects.s3 import S3Address, S3Store
from relay.settings import Settings
from tests.servers import S3Address as Server
from tests.servers import unique

PERSON = "7a0b9f2e-3a0e-4d6c-9b1c-2f4f5e6a7b8c"
STORES = ["disk", "plain-path", "plain-virtual", "tls-path", "tls-virtual"]


def s3(server: Server, bucket: str, virtual: bool, **more: object) -> S3Address:
    port = server.endpoint.rpartition(":")[2]
    scheme = "https" if server.tls else "http"
    return S3Address(
        bucket=bucket,
        endpoint=f"{scheme}://{'s3.' if virtual else ''}localhost:{port}",
        access_key=server.access_key,
        secret_key=server.secret_key,
        virtual_hosted=virtual,
        ca_file=server.ca_file,
        **more,  # type: ignore[arg-type]
    )


@pytest.fixture(autouse=True)
def localhost(monkeypatch: pytest.MonkeyPatch) -> None:
    """`*.localhost` is this machine (RFC 6761), also where the resolver does not know it."""
    resolve = socket.getaddrinfo

    def resolve_localhost(host: str, *args: object, **kw: object) -> object:
        local = isinstance(host, str) and host.endswith(".localhost")
        return resolve("localhost" if local else host, *args, **kw)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", resolve_localhost)


@pytest.fixture(params=STORES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ObjectStore]:
    kind, _, addressing = request.param.partition("-")
    if kind == "disk":
        yield DiskStore(tmp_path / "objects")
        return
    if (kind, addressing) == ("plain", "virtual") and os.environ.get("VOXRELAY_TEST_S3"):
        pytest.skip("the domain of the given store is not known")
    server = request.getfixturevalue("secure_s3_server" if kind == "tls" else "s3_server")
    opened = S3Store(s3(server, unique("bucket"), addressing == "virtual"))
    await opened.create_bucket()
    yield opened
    await opened.close()


async def test_what_was_put_is_read_back_with_what_is_known_of_it(store: ObjectStore) -> None:
    key, data = f"recording/{PERSON}/aa", os.urandom(100_000)
    before = datetime.now(UTC) - timedelta(seconds=2)
    assert await store.put(key, data, "audio/flac")
    assert await store.get(key) == data
    stat = await store.stat(key)
    assert (stat.key, stat.size, stat.content_type) == (key, len(data), "audio/flac")
    assert stat.sha256 == hashlib.sha256(data).hexdigest()
    assert before <= stat.modified <= datetime.now(UTC) + timedelta(seconds=2)


async def test_an_empty_object_is_one(store: ObjectStore) -> None:
    assert await store.put(f"hearing/{PERSON}/e", b"", "application/json")
    assert await store.get(f"hearing/{PERSON}/e") == b""
    assert (await store.stat(f"hearing/{PERSON}/e")).size == 0


async def test_the_first_put_stands(store: ObjectStore) -> None:
    key = f"speech/{PERSON}/one"
    assert await store.put(key, b"first", "audio/flac")
    assert not await store.put(key, b"second, and longer", "audio/mpeg")
    assert await store.get(key) == b"first"
    assert (await store.stat(key)).content_type == "audio/flac"


async def test_of_many_puts_at_once_one_wins_and_its_bytes_lie_there(store: ObjectStore) -> None:
    key = f"speech/{PERSON}/race"
    offers = [bytes([n]) * 50_000 for n in range(8)]
    won = await asyncio.gather(*(store.put(key, offer, "audio/flac") for offer in offers))
    assert won.count(True) == 1
    winner = offers[won.index(True)]
    assert await store.get(key) == winner
    assert (await store.stat(key)).sha256 == hashlib.sha256(winner).hexdigest()


async def test_a_part_is_cut_at_the_objects_end(store: ObjectStore) -> None:
    key = f"delivery/{PERSON}/part"
    await store.put(key, b"0123456789", "audio/mpeg")
    assert await store.read(key, 2, 5) == b"234"
    assert await store.read(key, 8, 99) == b"89"
    assert await store.read(key, 10, 20) == b""
    assert await store.read(key, 3, 3) == b""


async def test_what_is_not_there_is_missing_and_names_the_key(store: ObjectStore) -> None:
    key = f"speech/{PERSON}/none"
    for call in (store.get(key), store.stat(key), store.read(key, 0, 5)):
        with pytest.raises(Missing) as missing:
            await call
        assert missing.value.key == key


async def test_delete_removes_and_may_be_said_twice(store: ObjectStore) -> None:
    key = f"speech/{PERSON}/gone"
    await store.put(key, b"here", "audio/flac")
    await store.delete(key)
    await store.delete(key)
    with pytest.raises(Missing):
        await store.get(key)
    assert await store.put(key, b"again", "audio/flac")
    assert await store.get(key) == b"again"


async def test_list_gives_a_prefix_in_key_order(store: ObjectStore) -> None:
    keys = [f"{kind}/{PERSON}/{name}" for kind in ("a", "a-b", "b") for name in ("x", "x-1", "x.2")]
    for key in reversed(keys):
        await store.put(key, key.encode(), "text/plain")
    assert [stat.key async for stat in store.list("")] == sorted(keys)
    assert [stat.key async for stat in store.list("a/")] == sorted(keys)[3:6]
    assert [s.size async for s in store.list(f"b/{PERSON}/x.")] == [len(f"b/{PERSON}/x.2")]
    assert [stat async for stat in store.list("nothing/")] == []


LONG = "a/" + "x" * 256


@pytest.mark.parametrize(
    "key",
    ["", "alone", "/etc/passwd", "a/../../b", "a//b", "a/b/", "a/.making", "a/b\0c", "a/é", LONG],
)
async def test_a_key_that_climbs_or_is_none_is_refused(store: ObjectStore, key: str) -> None:
    for call in (store.put(key, b"x", "text/plain"), store.get(key), store.delete(key)):
        with pytest.raises(BadRecord) as refused:
            await call
        assert refused.value.code == "object_key_invalid"


async def test_check_passes_while_the_store_answers(store: ObjectStore) -> None:
    await store.check()


async def test_a_signed_address_serves_the_bytes_their_parts_and_nobody_elses(
    store: ObjectStore, request: pytest.FixtureRequest
) -> None:
    key = f"delivery/{PERSON}/signed"
    await store.put(key, b"0123456789", "audio/mpeg")
    url = store.url(key, timedelta(minutes=15), "你好 1.mp3")
    if isinstance(store, DiskStore):
        assert url is None
        return
    assert url is not None
    server = request.getfixturevalue("secure_s3_server" if url.startswith("https") else "s3_server")
    status, headers, body = await asyncio.to_thread(fetch, url, server.ca_file)
    assert (status, body, headers["Content-Type"]) == (200, b"0123456789", "audio/mpeg")
    assert "%E4%BD%A0%E5%A5%BD%201.mp3" in headers["Content-Disposition"]
    part = await asyncio.to_thread(fetch, url, server.ca_file, "bytes=2-4")
    assert (part[0], part[2]) == (206, b"234")
    forged = url.replace("/signed", "/other")
    assert (await asyncio.to_thread(fetch, forged, server.ca_file))[0] == 403


def fetch(
    url: str, ca_file: Path | None, span: str | None = None
) -> tuple[int, dict[str, str], bytes]:
    request = urllib.request.Request(url, headers={"Range": span} if span else {})
    trust = ssl.create_default_context(cafile=ca_file) if ca_file else None
    try:
        with urllib.request.urlopen(request, context=trust, timeout=10) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, dict(refused.headers), refused.read()


# -- what only one of them can get wrong ----------------------------------------------------------


def test_signing_is_for_the_public_endpoint_and_touches_no_network() -> None:
    address = S3Address(
        bucket="sound",
        endpoint="http://127.0.0.1:9",
        access_key="a",
        secret_key="b" * 8,
        public_endpoint="https://media.example.org",
    )
    url = S3Store(address).url(f"delivery/{PERSON}/x", timedelta(minutes=15), "x.mp3")
    assert url is not None
    assert url.startswith(f"https://media.example.org/sound/delivery/{PERSON}/x?")
    assert "X-Amz-Expires=900" in url


async def test_a_store_that_does_not_answer_is_unavailable() -> None:
    store = S3Store(S3Address("sound", "http://127.0.0.1:9", "a", "b" * 8))
    try:
        for call in (store.get(f"a/{PERSON}/x"), store.put(f"a/{PERSON}/x", b"", "t/p")):
            with pytest.raises(Unavailable):
                await call
    finally:
        await store.close()


async def test_a_bucket_that_is_gone_is_unavailable_never_missing(s3_server: Server) -> None:
    store = S3Store(s3(s3_server, unique("never-made"), virtual=False))
    try:
        for call in (store.check(), store.get(f"a/{PERSON}/x"), store.stat(f"a/{PERSON}/x")):
            with pytest.raises(Unavailable):
                await call
    finally:
        await store.close()


async def test_what_is_deleted_leaves_no_version_behind(s3_server: Server) -> None:
    address = s3(s3_server, unique("bucket"), virtual=False)
    store = S3Store(address)
    try:
        await store.create_bucket()
        store._client.set_bucket_versioning(address.bucket, VersioningConfig(ENABLED))
        gone, kept = f"speech/{PERSON}/a", f"speech/{PERSON}/ab"
        for key in (gone, kept):
            await store.put(key, b"sound", "audio/flac")
        await store.delete(gone)
        await store.put(gone, b"again", "audio/flac")
        store._client.remove_object(address.bucket, gone)  # as somebody else would
        await store.delete(gone)
        found = store._client.list_objects(address.bucket, recursive=True, include_version=True)
        assert [each.object_name for each in found] == [kept]
    finally:
        await store.close()


async def test_a_server_with_a_strange_certificate_is_not_trusted(secure_s3_server: Server) -> None:
    known = s3(secure_s3_server, "sound", virtual=False)
    store = S3Store(S3Address("sound", known.endpoint, known.access_key, known.secret_key))
    try:
        with pytest.raises(Unavailable):
            await store.check()
    finally:
        await store.close()


async def test_a_wrong_secret_is_unavailable_and_stays_out_of_the_message(
    s3_server: Server,
) -> None:
    known = s3(s3_server, "sound", virtual=False)
    store = S3Store(S3Address("sound", known.endpoint, known.access_key, "wrong-secret"))
    try:
        with pytest.raises(Unavailable) as refused:
            await store.get(f"a/{PERSON}/x")
        assert "wrong-secret" not in str(refused.value)
    finally:
        await store.close()


async def test_a_death_in_mid_put_leaves_no_half_object(tmp_path: Path) -> None:
    """A process is killed between writing the bytes and putting them in place."""
    key = f"speech/{PERSON}/half"
    program = (
        "import asyncio, os, signal, sys\n"
        "from pathlib import Path\n"
        "from relay.objects.disk import DiskStore\n"
        "Path.rename = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "asyncio.run(DiskStore(Path(sys.argv[1])).put(sys.argv[2], b'x' * 9999, 'audio/flac'))\n"
    )
    died = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", program, str(tmp_path), key], timeout=60
    )
    assert died.returncode < 0
    store = DiskStore(tmp_path)
    left = list((tmp_path / ".making").iterdir())
    assert len(left) == 1
    assert [stat async for stat in store.list("")] == []
    with pytest.raises(Missing):
        await store.get(key)
    old = time.time() - 7200
    os.utime(left[0], (old, old))
    assert await store.put(key, b"whole", "audio/flac")
    assert list((tmp_path / ".making").iterdir()) == []


async def test_a_full_or_forbidden_disk_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "objects").write_text("a file stands where the folder should be")
    store = DiskStore(tmp_path / "objects")
    for call in (store.check(), store.put(f"a/{PERSON}/x", b"", "text/plain")):
        with pytest.raises(Unavailable):
            await call


def test_open_store_follows_the_settings(tmp_path: Path) -> None:
    assert isinstance(open_store(Settings(data=tmp_path)), DiskStore)
    given = {
        "objects": "s3://sound",
        "s3_endpoint": "http://localhost:9000",
        "s3_access_key": "a",
        "s3_secret_key": "b" * 8,
    }
    assert isinstance(open_store(Settings.model_validate(given)), S3Store)
    with pytest.raises(Misconfigured, match="VOXRELAY_S3_CA_FILE"):
        open_store(Settings.model_validate(given | {"s3_ca_file": tmp_path / "none.pem"}))
    with pytest.raises(Misconfigured, match="VOXRELAY_OBJECTS"):
        open_store(Settings.model_validate(given | {"objects": "s3://b"}))
    with pytest.raises(Misconfigured, match="host:port"):
        open_store(Settings.model_validate(given | {"s3_endpoint": "localhost:9000"}))
