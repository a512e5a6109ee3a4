"""Addresses of sound that live for minutes: signed, for one job, or voice, and one thing of it.

Knows how such an address is made and told from a forged one. Refuses to know who may have it: it is
minted after an ownership check, and whoever holds it may fetch.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from uuid import UUID

from ingest.problems import Problem


@dataclass(frozen=True, slots=True)
class Links:
    """Makes and checks addresses under one secret that all gateways share."""

    secret: bytes = field(repr=False)
    lifetime: timedelta

    def path(self, job: UUID, thing: str, now: datetime) -> str:
        """Path and query of `thing` (`audio`, `recording`) of `job`, good from `now` on."""
        return f"/v1/jobs/{job}/{thing}?{self.proof(job, thing, now)}"

    def proof(self, id_: UUID, thing: str, now: datetime) -> str:
        """The query that proves an address of `thing` of a job, or of what else has an id."""
        until = int((now + self.lifetime).timestamp())
        return f"expires={until}&signature={self._sign(id_, thing, until)}"

    def check(self, job: UUID, thing: str, expires: str, signature: str, now: datetime) -> None:
        """`Problem` (`link_invalid`, `link_expired`) unless this is an address of ours."""
        if not (expires.isascii() and expires.isdecimal() and len(expires) <= 12):
            raise Problem("link_invalid")
        wanted = self._sign(job, thing, int(expires))
        if not hmac.compare_digest(wanted.encode(), signature.encode()):
            raise Problem("link_invalid")
        if now.timestamp() >= int(expires):
            raise Problem("link_expired")

    def _sign(self, job: UUID, thing: str, until: int) -> str:
        digest = hmac.new(self.secret, f"{thing}|{job}|{until}".encode(), sha256).digest()
        return urlsafe_b64encode(digest).decode().rstrip("=")
