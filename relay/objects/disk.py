"""Objects in a folder: each a folder of its own, with its bytes and what is known of them.

Knows how to put a whole object in place in one step: made aside, synced, then renamed, which fails
where an object lies already. Refuses to sign addresses: whoever serves the bytes reads them here.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from math import inf
from pathlib import Path
from typing import TypeVar

from relay.errors import Missing, Unavailable
from relay.objects.keys import checked
from relay.objects.port import Stat

T = TypeVar("T")

_DATA = "data"
_META = "meta.json"
_MAKING = ".making"
_STALE_SECONDS = 3600
_LEAST_FREE = 16 * 1024**2
"""Bytes. With less no recording is sure to find room, nor the log what ends the jobs under way."""
_PAGE = 256


class DiskStore:
    """An `ObjectStore` in `folder`; any number of processes of one machine may share it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._making = folder / _MAKING
        self._swept = -inf

    async def put(self, key: str, data: bytes, content_type: str) -> bool:
        place = self._place(key)
        return await _in_thread(lambda: self._put(place, data, content_type))

    async def get(self, key: str) -> bytes:
        data = self._place(key) / _DATA
        return await _in_thread(data.read_bytes, missing=key)

    async def stat(self, key: str) -> Stat:
        place = self._place(key)
        return await _in_thread(lambda: _stat(place, key), missing=key)

    async def read(self, key: str, start: int, end: int) -> bytes:
        data = self._place(key) / _DATA
        return await _in_thread(lambda: _slice(data, start, end), missing=key)

    async def delete(self, key: str) -> None:
        place = self._place(key)
        await _in_thread(lambda: self._delete(place))

    async def list(self, prefix: str) -> AsyncIterator[Stat]:
        walk = _walk(self._folder, "", prefix)
        while page := await _in_thread(lambda: [*islice(walk, _PAGE)]):
            for stat in page:
                yield stat

    def url(self, key: str, lifetime: timedelta, filename: str) -> str | None:
        return None

    async def check(self) -> None:
        await _in_thread(self._roomy)

    async def close(self) -> None:
        """Nothing is held open."""

    def _place(self, key: str) -> Path:
        return self._folder / checked(key)

    def _put(self, place: Path, data: bytes, content_type: str) -> bool:
        if place.exists():
            return False
        self._ready()
        meta = {"sha256": hashlib.sha256(data).hexdigest(), "content_type": content_type}
        making = self._making / secrets.token_hex(12)
        making.mkdir()
        try:
            _write(making / _DATA, data)
            _write(making / _META, json.dumps(meta).encode())
            _sync(making)
            return self._install(making, place)
        finally:
            shutil.rmtree(making, ignore_errors=True)

    def _install(self, making: Path, place: Path) -> bool:
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            making.rename(place)
        except OSError as failed:
            if failed.errno in (errno.ENOTEMPTY, errno.EEXIST):
                return False
            raise
        folder = place.parent
        _sync(folder)
        while folder != self._folder:
            folder = folder.parent
            _sync(folder)  # the folders above may be new, too
        return True

    def _delete(self, place: Path) -> None:
        self._ready()
        # One name for one key: whoever deletes it again ends what a death has left half done.
        name = place.relative_to(self._folder).as_posix()
        gone = self._making / f"gone-{hashlib.sha256(name.encode()).hexdigest()[:24]}"
        _empty(gone)
        try:
            place.rename(gone)  # gone at once and whole, then emptied
        except FileNotFoundError:
            return
        _sync(place.parent)
        _empty(gone)

    def _roomy(self) -> None:
        self._ready()
        if shutil.disk_usage(self._folder).free < _LEAST_FREE:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _ready(self) -> None:
        """Make the folder, and clear away, now and then, what died in the making."""
        self._making.mkdir(parents=True, exist_ok=True)
        if (now := time.monotonic()) < self._swept + _STALE_SECONDS:
            return
        self._swept = now
        for left in self._making.iterdir():
            if left.stat().st_mtime < time.time() - _STALE_SECONDS:
                shutil.rmtree(left, ignore_errors=True)


async def _in_thread(work: Callable[[], T], missing: str | None = None) -> T:
    """`work` in a thread. No such file is `Missing` of that key, other trouble `Unavailable`."""
    try:
        return await asyncio.to_thread(work)
    except OSError as failed:
        if missing is not None and isinstance(failed, FileNotFoundError | NotADirectoryError):
            raise Missing(missing) from None
        raise Unavailable(f"the object folder cannot be used: {failed.strerror}") from failed


def _stat(place: Path, key: str) -> Stat:
    known = (place / _DATA).stat()
    meta = json.loads((place / _META).read_bytes())
    modified = datetime.fromtimestamp(known.st_mtime, UTC)
    return Stat(key, known.st_size, meta["sha256"], meta["content_type"], modified)


def _slice(data: Path, start: int, end: int) -> bytes:
    with data.open("rb") as file:
        file.seek(start)
        return file.read(max(0, end - start))


def _walk(folder: Path, above: str, prefix: str) -> Iterator[Stat]:
    """Objects under `folder` in key order; what is deleted meanwhile is passed over."""
    for name in _names(folder):
        key = above + name
        if name.endswith("/"):
            if key.startswith(prefix) or prefix.startswith(key):
                yield from _walk(folder / name, key, prefix)
        elif key.startswith(prefix):
            try:
                yield _stat(folder / name, key)
            except FileNotFoundError:
                continue


def _names(folder: Path) -> list[str]:
    """What lies in `folder` in key order: objects bare, folders of them with a slash."""
    try:
        with os.scandir(folder) as entries:
            found = [entry.name for entry in entries if entry.name != _MAKING]
    except FileNotFoundError:
        return []
    return sorted(n if (folder / n / _META).exists() else f"{n}/" for n in found)


def _empty(folder: Path) -> None:
    """Remove what lay under a key; others may be at it, too."""
    with contextlib.suppress(FileNotFoundError):
        for name in (_DATA, _META):
            (folder / name).unlink(missing_ok=True)
        folder.rmdir()


def _write(file: Path, data: bytes) -> None:
    with file.open("xb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())


def _sync(folder: Path) -> None:
    line = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(line)
    finally:
        os.close(line)
