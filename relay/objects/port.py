"""The `ObjectStore` port: bytes under keys, written once.

Knows keys `<kind>/<person>/<hash>` and bytes. Refuses to know what is in them, and URLs that live:
a signed address is minted per answer and kept nowhere. Implementations: `disk`, `s3`; one contract
suite runs over both.

Errors: `Missing` (no such object), `Unavailable` (the store does not answer).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Stat:
    """What the store knows of an object; `sha256` in hex, `modified` in UTC."""

    key: str
    size: int
    sha256: str
    content_type: str
    modified: datetime


class ObjectStore(Protocol):
    """Where recordings, hearings and speech lie."""

    async def put(self, key: str, data: bytes, content_type: str) -> bool:
        """Store `data` if nothing lies under `key`; True if it was stored, False if one was there.

        Never overwrites: who loses reads what lies there and adopts it.
        """

    async def get(self, key: str) -> bytes: ...

    async def stat(self, key: str) -> Stat: ...

    async def read(self, key: str, start: int, end: int) -> bytes:
        """Bytes `start` to `end`, `end` excluded, cut at the object's end."""

    async def delete(self, key: str) -> None:
        """Remove the object; no error where there is none."""

    def list(self, prefix: str) -> AsyncIterator[Stat]:
        """Objects whose key starts with `prefix`, in key order; `sha256` may be empty here."""

    def url(self, key: str, lifetime: timedelta, filename: str) -> str | None:
        """A signed address a client can fetch by itself (GET, Range), or None: serve the bytes."""

    async def check(self) -> None:
        """Raise `Unavailable` unless the store answers."""

    async def close(self) -> None: ...
