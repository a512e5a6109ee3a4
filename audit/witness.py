"""A witness: somebody else's bucket, where a root that was left cannot be taken back.

Knows S3's object lock: what is put under compliance cannot be changed or deleted by anybody until
its term is over, and a bucket with a lock keeps every version. Refuses to decide what a root is
worth without one (`docs/audit.md` says that).
"""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TypeVar
from urllib.parse import urlsplit

import urllib3
from minio import Minio
from minio.commonconfig import COMPLIANCE
from minio.error import MinioException, S3Error
from minio.retention import Retention
from pydantic_core import from_json

from audit.roots import Root
from audit.settings import AuditSettings
from relay.errors import Misconfigured, Unavailable

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Testimony:
    """What the witness holds of an hour. `locked` is until when nobody can take it back."""

    statement: str
    key: str
    signature: str
    left: datetime
    locked: datetime | None


class Witness:
    """A bucket with a lock, and who we are there."""

    def __init__(self, client: Minio, bucket: str, days: int) -> None:
        self._client, self._bucket, self._days = client, bucket, days

    async def leave(self, root: Root, key: str, signature: str) -> None:
        """Leave a signed root, unless the same one lies there; `Unavailable` where that fails."""
        if (await self.holds(root)) is None:
            said = {"statement": root.statement, "key": key, "signature": signature}
            await self._ask(lambda: self._put(name_of(root), json.dumps(said).encode()))

    async def holds(self, root: Root) -> Testimony | None:
        """What was left first for the hour of `root`; None where nothing was."""
        return await self._ask(lambda: self._first(name_of(root)))

    def _put(self, name: str, data: bytes) -> None:
        until = datetime.now(UTC) + timedelta(days=self._days)
        self._client.put_object(
            self._bucket,
            name,
            io.BytesIO(data),
            len(data),
            "application/json",
            retention=Retention(COMPLIANCE, until),
        )

    def _first(self, name: str) -> Testimony | None:
        """The oldest version: a later one says nothing about when the first was left."""
        found = self._client.list_objects(self._bucket, prefix=name, include_version=True)
        versions = [v for v in found if v.object_name == name and not v.is_delete_marker]
        if not versions:
            return None
        oldest = min(versions, key=lambda v: v.last_modified or datetime.max.replace(tzinfo=UTC))
        return self._read(name, str(oldest.version_id), oldest.last_modified)

    def _read(self, name: str, version: str, left: datetime | None) -> Testimony:
        answer = self._client.get_object(self._bucket, name, version_id=version)
        try:
            said = _said(answer.read())
        finally:
            answer.release_conn()
        kept = self._client.get_object_retention(self._bucket, name, version_id=version)
        locked = kept.retain_until_date if kept and kept.mode == COMPLIANCE else None
        assert left is not None
        return Testimony(*said, left, locked)

    async def _ask(self, call: Callable[[], T]) -> T:
        try:
            return await asyncio.to_thread(call)
        except S3Error as refused:
            raise Unavailable(f"the witness refused: {refused.code}") from refused
        except (MinioException, urllib3.exceptions.HTTPError) as failed:
            raise Unavailable(f"the witness does not answer: {type(failed).__name__}") from failed


def _said(data: bytes) -> tuple[str, str, str]:
    """Statement, key and signature; `Unavailable` where somebody else has put something there."""
    try:
        said = from_json(data)
        return str(said["statement"]), str(said["key"]), str(said["signature"])
    except (ValueError, TypeError, KeyError):
        raise Unavailable("the witness holds something there that is no root of ours") from None


def name_of(root: Root) -> str:
    """Where the root of that hour of that site lies."""
    site = sha256(root.site.encode()).hexdigest()[:16]
    return f"roots/{site}/{root.hour:%Y-%m-%dT%H}.json"


def open_witness(settings: AuditSettings) -> Witness | None:
    """The witness of the settings; None where there is none."""
    if settings.witness is None:
        return None
    secret = settings.witness_secret_key
    if not (settings.witness_endpoint and settings.witness_access_key and secret):
        raise Misconfigured(
            "VOXRELAY_AUDIT_WITNESS needs VOXRELAY_AUDIT_WITNESS_ENDPOINT, _ACCESS_KEY, _SECRET_KEY"
        )
    parts = urlsplit(settings.witness_endpoint)
    client = Minio(
        parts.netloc,
        access_key=settings.witness_access_key,
        secret_key=secret.get_secret_value(),
        secure=parts.scheme == "https",
        region=settings.witness_region,
    )
    bucket = settings.witness.removeprefix("s3://")
    return Witness(client, bucket, settings.witness_days)
