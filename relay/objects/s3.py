"""Objects in S3 or anything that speaks it: the minio SDK, in threads of our own.

Knows addressing, conditional puts, errors' meaning and signed addresses. Refuses to make buckets
by itself (`create_bucket` is for the set-up) and to touch the network for signing.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import certifi
import urllib3
from minio import Minio
from minio.error import MinioException, S3Error
from minio.helpers import check_bucket_name
from minio.versioningconfig import OFF

from relay.errors import Misconfigured, Missing, Unavailable
from relay.objects.keys import checked
from relay.objects.port import Stat

T = TypeVar("T")

_SHA256 = "x-amz-meta-sha256"
_THREADS = 16
_PAGE = 1000
_CONNECT_SECONDS = 5
_SILENT_SECONDS = 10
"""A store that says nothing for so long is down; a line that is dead looks like that, too."""
_ONE_PART = 5 * 1024**3
"""An object goes in one request up to here: S3's conditional put knows no parts."""


@dataclass(frozen=True, slots=True)
class S3Address:
    """Where a bucket is and who we are there. Endpoints are `http(s)://host:port`."""

    bucket: str
    endpoint: str
    access_key: str
    secret_key: str
    region: str = "us-east-1"
    public_endpoint: str | None = None
    virtual_hosted: bool = False
    ca_file: Path | None = None


class S3Store:
    """An `ObjectStore` in one bucket."""

    def __init__(self, address: S3Address) -> None:
        self._address = address
        self._bucket = _bucket(address.bucket)
        self._versions: bool | None = None
        self._threads = ThreadPoolExecutor(_THREADS, "s3")
        self._pool = _Pool(address.ca_file)
        self._client = _client(address, address.endpoint, self._pool)
        self._signer = _client(address, address.public_endpoint or address.endpoint, self._pool)

    async def put(self, key: str, data: bytes, content_type: str) -> bool:
        checked(key)
        return await self._in_thread(lambda: self._put(key, data, content_type))

    async def get(self, key: str) -> bytes:
        checked(key)
        return await self._in_thread(lambda: self._get(key), missing=key)

    async def stat(self, key: str) -> Stat:
        checked(key)
        return await self._in_thread(lambda: self._stat(key), missing=key)

    async def read(self, key: str, start: int, end: int) -> bytes:
        checked(key)
        return await self._in_thread(lambda: self._read(key, start, end), missing=key)

    async def delete(self, key: str) -> None:
        checked(key)
        await self._in_thread(lambda: self._delete(key))

    async def list(self, prefix: str) -> AsyncIterator[Stat]:
        found = self._client.list_objects(self._bucket, prefix=prefix, recursive=True)
        while page := await self._in_thread(lambda: [*islice(found, _PAGE)]):
            for item in page:
                name, size, modified = item.object_name, item.size, item.last_modified
                yield Stat(str(name), int(size or 0), "", "", modified)

    def url(self, key: str, lifetime: timedelta, filename: str) -> str | None:
        shown = f"inline; filename*=UTF-8''{quote(filename, safe='')}"
        headers: dict[str, Any] = {"response-content-disposition": shown}
        address: str = self._signer.presigned_get_object(
            self._bucket, checked(key), expires=lifetime, response_headers=headers
        )
        return address

    async def check(self) -> None:
        if not await self._in_thread(lambda: self._client.bucket_exists(self._bucket)):
            raise Unavailable(f"bucket {self._bucket} does not exist")

    async def create_bucket(self) -> None:
        """Make the bucket where it is missing."""
        await self._in_thread(self._create_bucket)

    async def close(self) -> None:
        await asyncio.to_thread(self._threads.shutdown)
        self._pool.clear()

    def _put(self, key: str, data: bytes, content_type: str) -> bool:
        try:
            self._client.put_object(
                self._bucket,
                key,
                io.BytesIO(data),
                len(data),
                content_type,
                metadata={_SHA256: hashlib.sha256(data).hexdigest()},
                part_size=_ONE_PART,
            )
        except S3Error as refused:
            if refused.code == "PreconditionFailed":
                return False
            raise
        return True

    def _get(self, key: str) -> bytes:
        answer = self._client.get_object(self._bucket, key)
        try:
            data: bytes = answer.read()
            return data
        finally:
            answer.release_conn()

    def _read(self, key: str, start: int, end: int) -> bytes:
        if end <= start or start >= self._stat(key).size:
            return b""
        answer = self._client.get_object(self._bucket, key, offset=start, length=end - start)
        try:
            data: bytes = answer.read()
            return data
        finally:
            answer.release_conn()

    def _stat(self, key: str) -> Stat:
        found = self._client.stat_object(self._bucket, key)
        sha256 = (found.metadata or {}).get(_SHA256, "")
        assert found.last_modified is not None
        return Stat(key, found.size or 0, sha256, found.content_type or "", found.last_modified)

    def _delete(self, key: str) -> None:
        """Remove the object, and what a bucket that keeps versions would have left of it."""
        self._client.remove_object(self._bucket, key)
        if not self._keeps_versions():
            return
        for each in self._client.list_objects(self._bucket, prefix=key, include_version=True):
            if each.object_name == key:
                self._client.remove_object(self._bucket, key, version_id=each.version_id)

    def _keeps_versions(self) -> bool:
        """Whether the bucket does, or did; asked once. False where we may not know."""
        if self._versions is None:
            try:
                self._versions = self._client.get_bucket_versioning(self._bucket).status != OFF
            except S3Error as refused:
                if refused.code not in ("AccessDenied", "NotImplemented"):
                    raise
                self._versions = False
        return self._versions

    def _create_bucket(self) -> None:
        if self._client.bucket_exists(self._bucket):
            return
        try:
            self._client.make_bucket(self._bucket)
        except S3Error as refused:
            if refused.code not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
                raise

    async def _in_thread(self, work: Callable[[], T], missing: str | None = None) -> T:
        """`work` in a thread, its errors told apart: no such object, or the store is down."""
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._threads, work)
        except S3Error as refused:
            if refused.code == "NoSuchKey" and missing is not None:
                await self.check()  # a HEAD says the same of a bucket that is gone
                raise Missing(missing) from None
            raise Unavailable(f"the object store refused: {refused.code}") from refused
        except (MinioException, urllib3.exceptions.HTTPError) as failed:
            if _is_silence(failed):
                self._pool.clear()  # what else is kept open to a store gone silent is as dead
            raise Unavailable(
                f"the object store does not answer: {type(failed).__name__}"
            ) from failed


class _Retry(urllib3.Retry):
    """Not after a store's silence: that took long enough, and whoever asks will ask again."""

    def increment(self, method: str | None = None, url: str | None = None, **kw: Any) -> _Retry:  # type: ignore[override]
        if isinstance(kw.get("error"), urllib3.exceptions.TimeoutError):
            raise kw["error"]
        return super().increment(method, url, **kw)


class _Pool(urllib3.PoolManager):
    """Connections; and a put never overwrites, which the SDK has no argument for."""

    def __init__(self, ca_file: Path | None) -> None:
        super().__init__(
            maxsize=_THREADS,
            timeout=urllib3.Timeout(connect=_CONNECT_SECONDS, read=_SILENT_SECONDS),
            retries=_Retry(total=2, backoff_factor=0.2, status_forcelist=[500, 502, 503, 504]),
            cert_reqs="CERT_REQUIRED",
            ca_certs=str(ca_file) if ca_file else certifi.where(),
        )

    def urlopen(  # type: ignore[override]
        self, method: str, url: str, redirect: bool = True, **kw: Any
    ) -> urllib3.BaseHTTPResponse:
        if method == "PUT":
            headers = kw["headers"].copy()
            headers["If-None-Match"] = "*"
            kw["headers"] = headers
        return super().urlopen(method, url, redirect=redirect, **kw)


def _bucket(name: str) -> str:
    try:
        check_bucket_name(name)
    except ValueError as wrong:  # at the first request, otherwise, and no fault of that
        raise Misconfigured(f"VOXRELAY_OBJECTS=s3://…: {wrong} (3 to 63 characters)") from None
    return name


def _client(address: S3Address, endpoint: str, pool: urllib3.PoolManager) -> Minio:
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.path.strip("/"):
        raise Misconfigured(f"an object store's endpoint is http(s)://host:port, not {endpoint!r}")
    client = Minio(
        parts.netloc,
        access_key=address.access_key,
        secret_key=address.secret_key,
        secure=parts.scheme == "https",
        region=address.region,
        http_client=pool,
    )
    if address.virtual_hosted:
        client.enable_virtual_style_endpoint()  # type: ignore[no-untyped-call]
    return client


def _is_silence(failed: Exception) -> bool:
    cause = getattr(failed, "reason", failed)
    return isinstance(cause, urllib3.exceptions.TimeoutError)
