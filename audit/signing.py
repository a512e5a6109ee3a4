"""The site's signing key: a file, its successors, and who vouches for whom.

Knows Ed25519 and that a signature says what it is for. A rotation is a link signed by both keys, so
whoever knows one key can find its successors. Refuses to keep an old key's secret.
"""

from __future__ import annotations

import json
import os
import secrets
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from relay.errors import Misconfigured
from schemas.envelope import format_time

ROOT, MANIFEST, SUCCESSION, ERASURE = "root", "manifest", "succession", "erasure"
"""What a signature is for: one is no good as another."""


@dataclass(frozen=True, slots=True)
class Link:
    """`old` was followed by `new` (public keys in hex): each signs that it was so."""

    old: str
    new: str
    at: str
    by_old: str
    by_new: str

    @property
    def holds(self) -> bool:
        """Whether both signatures are good."""
        said = _succession(self.old, self.new, self.at)
        return verified(self.old, SUCCESSION, said, self.by_old) and verified(
            self.new, SUCCESSION, said, self.by_new
        )


class Signer:
    """A key in use. `public` in hex is its name."""

    def __init__(self, key: Ed25519PrivateKey, links: Sequence[Link] = ()) -> None:
        self._key, self.links = key, tuple(links)
        raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.public = raw.hex()

    def sign(self, purpose: str, data: bytes) -> str:
        """The signature in base64; equal data gives an equal one."""
        return b64encode(self._key.sign(_framed(purpose, data))).decode()


def verified(public: str, purpose: str, data: bytes, signature: str) -> bool:
    """Whether `signature` is that of the key `public` over `data`, for that purpose."""
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public))
        key.verify(b64decode(signature, validate=True), _framed(purpose, data))
    except (InvalidSignature, ValueError):
        return False
    return True


def successors(trusted: str, links: Iterable[Link]) -> frozenset[str]:
    """`trusted` and every key that good links lead to from it, in their order."""
    known = {trusted}
    for each in links:
        if each.old in known and each.holds:
            known.add(each.new)
    return frozenset(known)


def load_signer(path: Path, *, make: bool = False) -> Signer:
    """The key in `path`, with the links beside it; made where it is missing and `make` is set.

    `Misconfigured` where it is missing, no such key, or may be read by anybody.
    """
    if make and not path.exists():
        _make(path)
    try:
        if path.stat().st_mode & 0o007:
            raise Misconfigured(f"the audit's key {path} may be read by anybody: chmod 600")
        key = load_pem_private_key(path.read_bytes(), None)
    except OSError as wrong:
        raise Misconfigured(
            f"the audit's key {path} cannot be read ({wrong.strerror}): make one with "
            "`voxrelay audit key new`, or name it in VOXRELAY_AUDIT_KEY_FILE"
        ) from None
    except (ValueError, TypeError):
        raise Misconfigured(f"the audit's key {path} is no private key in PEM") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise Misconfigured(f"the audit's key {path} is not an Ed25519 key")
    return Signer(key, _read_links(path))


def rotate(path: Path, at: datetime) -> Signer:
    """Put a new key in place of the one in `path`; both sign that it followed."""
    old, fresh = load_signer(path), Ed25519PrivateKey.generate()
    new = Signer(fresh)
    when = format_time(at)
    said = _succession(old.public, new.public, when)
    signatures = old.sign(SUCCESSION, said), new.sign(SUCCESSION, said)
    links = [*old.links, Link(old.public, new.public, when, *signatures)]
    # The links first: with the old key still in place, one link too many does no harm.
    text = json.dumps([asdict(each) for each in links], indent=2)
    _replace(_links_of(path), text.encode())
    _write(path, fresh)
    return Signer(fresh, links)


def links_in(said: Any) -> Sequence[Link]:
    """The links that JSON spells; `ValueError` where it spells something else."""
    try:
        return [Link(**{name: str(each[name]) for name in Link.__slots__}) for each in said]
    except (TypeError, KeyError):
        raise ValueError("not a list of links between keys") from None


def told(signer: Signer) -> Mapping[str, Any]:
    """The key and the links as JSON; no secret is in it."""
    return {"public": signer.public, "links": [asdict(each) for each in signer.links]}


def fingerprint(public: str) -> str:
    """A short name of a key, for people to compare."""
    return sha256(bytes.fromhex(public)).hexdigest()[:16]


def _framed(purpose: str, data: bytes) -> bytes:
    return b"voxrelay audit " + purpose.encode() + b"\0" + data


def _succession(old: str, new: str, at: str) -> bytes:
    return f"{old} {new} {at}".encode()


def _links_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.links.json")


def _read_links(path: Path) -> Sequence[Link]:
    try:
        return links_in(json.loads(_links_of(path).read_bytes()))
    except FileNotFoundError:
        return ()
    except ValueError as wrong:
        raise Misconfigured(f"{_links_of(path)}: {wrong}") from None


def _make(path: Path) -> None:
    """A fresh key in `path`; of several processes that start at once, the first one's stays."""
    aside = _aside(path, _spelled(Ed25519PrivateKey.generate()))
    with suppress(FileExistsError):
        os.link(aside, path)
    aside.unlink()


def _write(path: Path, key: Ed25519PrivateKey) -> None:
    _replace(path, _spelled(key))


def _spelled(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _replace(path: Path, data: bytes) -> None:
    _aside(path, data).replace(path)


def _aside(path: Path, data: bytes) -> Path:
    """`data` in a file beside `path`, written to the end, readable by us alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return aside
