"""The `KeyStore` port, and what is derived from a person's key.

Knows that every person has one key and that a destroyed key is a fact that stays. Refuses to know
where keys lie; `relay.sql.keys` keeps them wrapped beside the jobs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol
from uuid import UUID

from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES = 64
"""AES-256-SIV takes 64 bytes: half for the MAC, half for the cipher."""


@dataclass(frozen=True)
class PersonKey:
    """A person's key; never printed, logged or put into an event."""

    secret: bytes = field(repr=False)

    @cached_property
    def cipher(self) -> AESSIV:
        """The cipher under `secret`, which costs more to make than to use."""
        return AESSIV(self.secret)

    @cached_property
    def recipe_key(self) -> bytes:
        """The key under which recipes of this person are hashed; says nothing of `secret`."""
        return HKDF(SHA256(), 32, salt=None, info=b"voxrelay recipe").derive(self.secret)


class KeyStore(Protocol):
    """Where persons' keys are found."""

    async def key(self, person: UUID) -> PersonKey:
        """The person's key, at most 60 s old.

        `PersonErased` where a tombstone says it was destroyed; `Unavailable` where the store does
        not answer or has neither key nor tombstone (our world is down, not a hole).
        """
