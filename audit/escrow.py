"""The escrow file: lines of JSON, sealed to somebody's public key or to a passphrase.

Knows the form: a header line that carries the file's own key, sealed; then a line for each chunk,
bound to the header, to its place, and to whether it is the last. Refuses to know what they say.
Sources: RFC 9180 (HPKE) as `relay.handover` has it, RFC 7914 (scrypt), RFC 8439.
"""

from __future__ import annotations

import json
import os
import secrets
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from relay.errors import Misconfigured
from relay.handover import SUITE, Recipient

FORMAT = "voxrelay-escrow/1"
_INFO = b"voxrelay escrow v1"
_SCRYPT = {"length": 32, "n": 2**17, "r": 8, "p": 1}
_NONCE = 12


class Lock(Protocol):
    """Seals a file's key, or opens what was sealed."""

    def seal(self, key: bytes) -> dict[str, str]: ...
    def open(self, sealed: dict[str, Any]) -> bytes:
        """The key; `InvalidTag`, `KeyError` or `ValueError` where that is not for us."""


@dataclass(frozen=True)
class Passphrase:
    """Whoever knows it opens the file."""

    words: bytes = field(repr=False)

    def seal(self, key: bytes) -> dict[str, str]:
        salt = secrets.token_bytes(16)
        sealed = self._cipher(salt).encrypt(bytes(_NONCE), key, _INFO)
        return {"salt": b64encode(salt).decode(), "key": b64encode(sealed).decode()}

    def open(self, sealed: dict[str, Any]) -> bytes:
        cipher = self._cipher(b64decode(sealed["salt"]))
        return cipher.decrypt(bytes(_NONCE), b64decode(sealed["key"]), _INFO)

    def _cipher(self, salt: bytes) -> ChaCha20Poly1305:
        return ChaCha20Poly1305(Scrypt(salt=salt, **_SCRYPT).derive(self.words))


@dataclass(frozen=True)
class PublicKey:
    """Whoever has the private half opens the file; we need not."""

    recipient: Recipient
    private: X25519PrivateKey | None = field(default=None, repr=False)

    def seal(self, key: bytes) -> dict[str, str]:
        sealed = SUITE.encrypt(key, self.recipient.public, info=_INFO)
        return {"to": str(self.recipient), "key": b64encode(sealed).decode()}

    def open(self, sealed: dict[str, Any]) -> bytes:
        if self.private is None or sealed["to"] != str(self.recipient):
            raise ValueError("sealed to another key")
        return SUITE.decrypt(b64decode(sealed["key"]), self.private, info=_INFO)


async def write(path: Path, lock: Lock, chunks: AsyncIterator[Any]) -> None:
    """Write `chunks` (anything JSON can say) into `path`, whole or not at all, for us alone."""
    key = secrets.token_bytes(32)
    head = json.dumps({"format": FORMAT, **lock.seal(key)}).encode()
    cipher = ChaCha20Poly1305(key)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(head + b"\n")
        number, waiting = 0, b"[]"
        async for chunk in chunks:
            file.write(_line(cipher, head, number, waiting, last=False))
            number, waiting = number + 1, json.dumps(chunk).encode()
        file.write(_line(cipher, head, number, waiting, last=True))
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def read(path: Path, lock: Lock) -> Iterator[Any]:
    """The chunks of `path`, each once it is known to be whole; the first one is empty.

    `Misconfigured` where it is no such file, is not for us, was changed, or ends early.
    """
    with path.open("rb") as file:
        head = file.readline().rstrip(b"\n")
        cipher = ChaCha20Poly1305(_file_key(head, lock))
        yield from _chunks(file, cipher, head)


def _chunks(file: IO[bytes], cipher: ChaCha20Poly1305, head: bytes) -> Iterator[Any]:
    line = file.readline()
    number = 0
    while line:
        after = file.readline()
        try:
            sealed = b64decode(line.strip(), validate=True)
            bound = _bound(head, last=not after)
            yield json.loads(cipher.decrypt(number.to_bytes(_NONCE, "big"), sealed, bound))
        except (InvalidTag, ValueError):
            raise Misconfigured("the escrow file was changed, or ends early") from None
        line, number = after, number + 1
    if number == 0:
        raise Misconfigured("the escrow file ends early")


def _file_key(head: bytes, lock: Lock) -> bytes:
    try:
        said = json.loads(head)
        if said["format"] != FORMAT:
            raise ValueError("another format")
        return lock.open(said)
    except (InvalidTag, KeyError, TypeError, ValueError):
        raise Misconfigured(
            "the escrow file cannot be opened: it is none, or this is not its key or passphrase"
        ) from None


def _line(cipher: ChaCha20Poly1305, head: bytes, number: int, data: bytes, *, last: bool) -> bytes:
    nonce = number.to_bytes(_NONCE, "big")
    return b64encode(cipher.encrypt(nonce, data, _bound(head, last=last))) + b"\n"


def _bound(head: bytes, *, last: bool) -> bytes:
    return head + (b" last" if last else b" more")
