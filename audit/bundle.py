"""A bundle of evidence: one tar file that can be verified with nothing but itself and a key.

Knows names of members and the tar format down to its padding: a bundle is these bytes and no other.
Refuses to know what is in the members.
"""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import IO, Any, Self

from audit.signing import MANIFEST, Signer, told
from relay.errors import Misconfigured

FORMAT = "voxrelay-audit/1"
MANIFEST_NAME, SIGNATURE_NAME, KEYS_NAME = "manifest.json", "manifest.sig.json", "keys.json"
OBJECTS_NAME, PUBLISHED_NAME = "objects.jsonl", "published.jsonl"
UNLISTED = frozenset({MANIFEST_NAME, SIGNATURE_NAME})
"""Members that the manifest cannot list."""

_BLOCK = 512
_PIECE = 1 << 20


def records_name(hour: datetime) -> str:
    """The member that holds an hour's records."""
    return f"hours/{hour:%Y-%m-%dT%H}.jsonl"


def index_name(hour: datetime) -> str:
    """The member with each record's hash and name."""
    return f"hours/{hour:%Y-%m-%dT%H}.index.jsonl"


def root_name(hour: datetime) -> str:
    """The member with the hour's root, signed."""
    return f"hours/{hour:%Y-%m-%dT%H}.root.json"


class Writer:
    """Writes members one after another; the manifest last. Whole in place, or not there."""

    def __init__(self, path: Path) -> None:
        self._path, self._aside = path, path.with_name(f".{path.name}.{os.getpid()}")
        self._files: list[list[Any]] = []
        self._out: IO[bytes]

    def __enter__(self) -> Self:
        if self._path.exists():
            raise Misconfigured(f"{self._path} exists: evidence is not overwritten")
        self._out = self._aside.open("wb")
        return self

    def __exit__(self, failed: object, *_: object) -> None:
        self._out.close()
        if failed:
            self._aside.unlink()
        else:
            self._aside.replace(self._path)

    def add(self, name: str, file: IO[bytes]) -> None:
        """The whole of `file` as the member `name`."""
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        digest = sha256()
        self._out.write(header(name, size))
        while piece := file.read(_PIECE):
            digest.update(piece)
            self._out.write(piece)
        self._out.write(bytes(-size % _BLOCK))
        self._files.append([name, size, digest.hexdigest()])

    def add_bytes(self, name: str, data: bytes) -> None:
        """`data` as the member `name`."""
        self._out.write(header(name, len(data)) + data + bytes(-len(data) % _BLOCK))
        self._files.append([name, len(data), sha256(data).hexdigest()])

    def finish(self, signer: Signer, facts: dict[str, Any]) -> None:
        """The keys, the manifest over all members, and its signature."""
        self.add_bytes(KEYS_NAME, document(told(signer)))
        manifest = document({"format": FORMAT, **facts, "files": self._files})
        self.add_bytes(MANIFEST_NAME, manifest)
        signature = {"key": signer.public, "signature": signer.sign(MANIFEST, manifest)}
        self.add_bytes(SIGNATURE_NAME, document(signature))
        self._out.write(bytes(2 * _BLOCK))
        self._out.flush()
        os.fsync(self._out.fileno())


def document(value: Any) -> bytes:
    """JSON for a member."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def header(name: str, size: int) -> bytes:
    """The tar header of a member: nobody's, of no date."""
    member = tarfile.TarInfo(name)
    member.size = size
    return member.tobuf(tarfile.USTAR_FORMAT)


@dataclass(frozen=True, slots=True)
class Member:
    """Where the bytes of a member lie in the file."""

    name: str
    at: int
    size: int


class Damaged(Exception):
    """The file ends too early, or is no bundle from some byte on."""


def members(path: Path) -> Iterator[Member]:
    """The members in order; `Damaged` at the first byte that a bundle would not have there."""
    total = path.stat().st_size
    with path.open("rb") as file:
        at = 0
        while (head := file.read(_BLOCK)) != bytes(_BLOCK):
            member = _member(head, at)
            data_end = member.at + member.size
            at = data_end + (-member.size % _BLOCK)
            if at > total:
                raise Damaged(f"it ends in the middle of {member.name}")
            file.seek(data_end)
            if any(file.read(at - data_end)):
                raise Damaged(f"something stands behind {member.name}, at byte {data_end}")
            yield member
        if file.read() != bytes(_BLOCK):
            raise Damaged(f"it does not end as a bundle does, at byte {at}")


def _member(head: bytes, at: int) -> Member:
    if len(head) < _BLOCK:
        raise Damaged(f"it ends at byte {at + len(head)}, before its manifest is complete")
    try:
        name = head[:100].rstrip(b"\0").decode()
        member = Member(name, at + _BLOCK, int(head[124:135], 8))
        if header(name, member.size) == head:
            return member
    except ValueError:
        pass  # said below
    raise Damaged(f"what should be a member's head at byte {at} is none")


def read(path: Path, member: Member) -> bytes:
    """The bytes of a small member."""
    with path.open("rb") as file:
        file.seek(member.at)
        return file.read(member.size)


def digest_of(path: Path, member: Member) -> str:
    """SHA-256 of a member, whatever its size."""
    digest, left = sha256(), member.size
    with path.open("rb") as file:
        file.seek(member.at)
        while left and (piece := file.read(min(left, _PIECE))):
            digest.update(piece)
            left -= len(piece)
    return digest.hexdigest()


def lines(path: Path, member: Member) -> Iterator[bytes]:
    """The lines of a member without their ends; what stands behind the last end is a line, too."""
    left = member.size
    with path.open("rb") as file:
        file.seek(member.at)
        while left and (line := file.readline(left)):
            left -= len(line)
            yield line.removesuffix(b"\n")
