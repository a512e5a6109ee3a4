"""A person's key on its way from one site to another: sealed to the site that it goes to.

Knows the envelope and the object it travels in. Refuses to know who carries it, and whether the
one who put it there may speak for that person: whoever may write to the store may hand over a key
for a person that the site has none of, and for nobody else.
Source: RFC 9180 (HPKE), in the form that `cryptography` gives it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from relay.errors import Unavailable
from relay.keys import KEY_BYTES, PersonKey

SECRET = "keys handed over"
"""Name of the site's secret (`SqlKeyStore.secret`) that the private key is."""

KIND = "handover"
"""First part of the object's key."""

SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
"""How anything is sealed to a public key; `info` says what it is for."""


@dataclass(frozen=True)
class Recipient:
    """A site that keys can be handed to: its public key, given to edges by hand."""

    public: X25519PublicKey

    @classmethod
    def read(cls, text: str) -> Recipient:
        """The recipient that `text` (64 hex digits) spells; `ValueError` where it is none."""
        public = X25519PublicKey.from_public_bytes(bytes.fromhex(text))
        X25519PrivateKey.generate().exchange(public)  # refuses the few points without a secret
        return cls(public)

    def __str__(self) -> str:
        return self.public.public_bytes_raw().hex()

    def object_key(self, person: UUID) -> str:
        """Where the person's envelope to this site lies."""
        return f"{KIND}/{person}/{sha256(self.public.public_bytes_raw()).hexdigest()[:16]}"

    def seal(self, person: UUID, key: PersonKey) -> bytes:
        """The envelope: only this site opens it, and only as the key of `person`."""
        return SUITE.encrypt(key.secret, self.public, info=_bound(person))


@dataclass(frozen=True)
class Receiver:
    """The site itself: opens what was sealed to it."""

    secret: bytes = field(repr=False)

    @property
    def recipient(self) -> Recipient:
        """What others need to seal to us."""
        return Recipient(self._private.public_key())

    def open(self, person: UUID, envelope: bytes) -> PersonKey:
        """The key in `envelope`; `Unavailable` where it is not sealed to us, or another's."""
        try:
            secret = SUITE.decrypt(envelope, self._private, info=_bound(person))
        except (InvalidTag, ValueError):
            secret = b""
        if len(secret) != KEY_BYTES:
            raise Unavailable(
                f"the key that was handed over for person {person} cannot be opened: its object "
                "was changed, or is no key"
            )
        return PersonKey(secret)

    @property
    def _private(self) -> X25519PrivateKey:
        return X25519PrivateKey.from_private_bytes(self.secret)


def _bound(person: UUID) -> bytes:
    return f"voxrelay handover v1 {person}".encode()
