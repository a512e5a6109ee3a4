"""The master key: what every other key in SQL is wrapped by.

Knows the file it lies in and how it wraps. Refuses to know whose keys it wraps; the file itself is
never in a backup of the database.
Source: RFC 5297 (SIV); the associated data binds a wrapped key to its row.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from relay.errors import Misconfigured, Unavailable
from relay.settings import Settings

MASTER_BYTES = 32
MASTER_FILE = "master.key"


class WrongMaster(Unavailable):
    """Not this record's fault: kept and tried again until the operator has put the file right."""


@dataclass(frozen=True, slots=True)
class MasterKey:
    """32 bytes; never printed, logged or stored beside what they wrap."""

    secret: bytes = field(repr=False)

    @property
    def id(self) -> str:
        """16 hex digits that tell one master from another and nothing more."""
        return self._derive(b"voxrelay master id", 8).hex()

    def wrap(self, row: str, key: bytes) -> bytes:
        """`key`, readable only with this master and only as the one of `row`."""
        return self._siv().encrypt(key, [row.encode()])

    def unwrap(self, row: str, wrapped: bytes) -> bytes:
        """The key that `wrap` took; `WrongMaster` where another master, or row, wrapped it."""
        try:
            return self._siv().decrypt(wrapped, [row.encode()])
        except InvalidTag:
            raise WrongMaster(
                f"the master key does not open {row}: VOXRELAY_MASTER_KEY_FILE is not the file "
                "that this database is used with, or the row was changed"
            ) from None

    def _siv(self) -> AESSIV:
        return AESSIV(self._derive(b"voxrelay wrap", 64))

    def _derive(self, info: bytes, length: int) -> bytes:
        return HKDF(SHA256(), length, salt=None, info=info).derive(self.secret)


class Masters:
    """The master keys of a process: the one in use first, then one that is being replaced.

    A key that a row names and we do not know may have come since: then they are read once more.
    """

    def __init__(self, read: Callable[[], Sequence[MasterKey]]) -> None:
        self._read = read
        self._known = list(read())

    @property
    def first(self) -> MasterKey:
        """The one in use, where no row says otherwise."""
        return self._known[0]

    def of(self, id_: str) -> MasterKey:
        """The master of that id; `WrongMaster` where the file has none."""
        for _ in range(2):
            for each in self._known:
                if each.id == id_:
                    return each
            self._known = list(self._read())
        raise WrongMaster(
            f"VOXRELAY_MASTER_KEY_FILE does not hold the master key {id_}, which this database is "
            "used with"
        )


def load_master(settings: Settings) -> MasterKey:
    """The master key in use; see `load_masters`."""
    return load_masters(settings)[0]


def load_masters(settings: Settings) -> Sequence[MasterKey]:
    """The master keys of `settings`; made in the data folder (mode 0600) where SQL is a file there.

    `Misconfigured` where there is none, or a line is not 32 bytes in hex.
    """
    path = master_file(settings)
    if settings.master_key_file is None:
        _make(path)
    return _read(path)


def master_file(settings: Settings) -> Path:
    """Where they lie; `Misconfigured` where that has to be said and is not."""
    path = settings.master_key_file
    if path is None:
        if settings.sql != "sqlite":
            raise Misconfigured(
                "VOXRELAY_MASTER_KEY_FILE is not set: name a file with 32 random bytes in hex "
                "(64 digits), the same for every process"
            )
        path = settings.data / MASTER_FILE
    return path


def renew(path: Path) -> Sequence[MasterKey]:
    """Put a new master key before the one in `path`; does nothing where two lie there already."""
    before = _read(path)
    if len(before) == 1:
        _replace(path, [MasterKey(secrets.token_bytes(MASTER_BYTES)), *before])
    return _read(path)


def retire(path: Path) -> MasterKey:
    """Leave the first key alone in `path`; what else was there is written over."""
    kept = _read(path)[0]
    with path.open("rb+") as before:
        _replace(path, [kept])
        size = os.fstat(before.fileno()).st_size
        before.write(bytes(size))
        before.flush()
        os.fsync(before.fileno())
    return kept


def _make(path: Path) -> None:
    """Write a fresh key unless one lies there: whole or not at all, first of several wins."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = _draft(path, [MasterKey(secrets.token_bytes(MASTER_BYTES))])
    try:
        try:
            os.link(draft, path)
        except FileExistsError:
            return
        _sync_folder(path.parent)
    finally:
        draft.unlink()


def _replace(path: Path, keys: Sequence[MasterKey]) -> None:
    try:
        _draft(path, keys).replace(path)
        _sync_folder(path.parent)
    except OSError as wrong:
        raise Misconfigured(
            f"VOXRELAY_MASTER_KEY_FILE={path} cannot be written: {wrong.strerror}"
        ) from None


def _draft(path: Path, keys: Sequence[MasterKey]) -> Path:
    draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write("".join(f"{key.secret.hex()}\n" for key in keys))
        file.flush()
        os.fsync(file.fileno())
    return draft


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _read(path: Path) -> Sequence[MasterKey]:
    try:
        if path.stat().st_mode & 0o007:
            raise Misconfigured(
                f"VOXRELAY_MASTER_KEY_FILE={path} may be read by anybody: chmod 600"
            )
        found = [bytes.fromhex(line) for line in path.read_text("ascii").split()]
    except OSError as wrong:
        raise Misconfigured(
            f"VOXRELAY_MASTER_KEY_FILE={path} cannot be read: {wrong.strerror}"
        ) from None
    except ValueError:  # not ASCII, or not hex
        found = []
    if not 1 <= len(found) <= 2 or {len(each) for each in found} != {MASTER_BYTES}:
        raise Misconfigured(
            f"VOXRELAY_MASTER_KEY_FILE={path} is not 64 hex digits, or two lines of them"
        )
    return [MasterKey(each) for each in found]
