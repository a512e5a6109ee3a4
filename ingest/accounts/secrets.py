"""Secrets that are handed out once and kept as a hash: refresh tokens, keys, sign-in links.

Knows their spelling. They are random, 256 bits each, so one round of SHA-256 is all that a hash of
them needs. Refuses to know whose they are.
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass, field
from hashlib import sha256

_BYTES = 32
_LONGEST = 200


@dataclass(frozen=True, slots=True)
class Handed:
    """Something to be shown once: `id` finds its row, `secret` proves that it is the bearer's."""

    id: str
    secret: str = field(repr=False)

    @property
    def hash(self) -> bytes:
        """What is kept of it."""
        return sha256(self.secret.encode()).digest()

    def matches(self, hash_: bytes | None) -> bool:
        """Whether `hash_` was kept of this very secret."""
        return hash_ is not None and hmac.compare_digest(self.hash, hash_)

    def spelled(self, prefix: str = "") -> str:
        """How its bearer spells it."""
        return f"{prefix}{self.id}.{self.secret}"


def fresh(id_: str) -> Handed:
    """A new secret for what goes by `id_`."""
    return Handed(id_, secrets.token_urlsafe(_BYTES))


def read(text: str, prefix: str = "") -> Handed | None:
    """What `text` spells; None where it has not the form of one."""
    if len(text) > _LONGEST or not text.isascii() or not text.startswith(prefix):
        return None
    id_, dot, secret = text.removeprefix(prefix).partition(".")
    return Handed(id_, secret) if id_ and dot and secret else None
