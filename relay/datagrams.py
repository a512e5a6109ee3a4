"""Words between the processes of one machine: unix datagrams to every socket in a folder.

Knows who listens (one socket a process) and tells them all. Refuses to promise anything: a word may
be lost or come from a stranger, so whoever listens also looks by himself every few seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import secrets
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path

_LONGEST = 100
"""Bytes of a socket's path that every system takes (104 on macOS, 108 on Linux)."""


class Datagrams:
    """One listener in `folder`, and the way to tell all the others.

    `send` may be called from any thread; `heard` is called in the loop that called `listen`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = _short(folder)
        self._path = str(self._folder / f"{os.getpid()}-{secrets.token_hex(4)}")
        self._socket: socket.socket | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def listen(self, heard: Callable[[bytes], None]) -> None:
        """Call `heard` with every word that others send from now on."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind(self._path)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket, _drain, self._socket, heard)

    def send(self, word: bytes) -> None:
        """Send `word` (at most a few hundred bytes) to every other listener; never waits."""
        line = self._socket
        if line is None:
            return
        for path in self._others():
            try:
                line.sendto(word, path)
            except (ConnectionRefusedError, FileNotFoundError):
                # Its process died without closing: the socket it left hears nobody.
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)
            except OSError:
                continue  # full (the listener is stopped or busy): it looks by itself

    def close(self) -> None:
        """Stop listening; the socket's file goes too."""
        if self._socket is None or self._loop is None:
            return
        if not self._loop.is_closed():
            self._loop.remove_reader(self._socket)
        self._socket.close()
        self._socket = None
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)

    def _others(self) -> list[str]:
        try:
            with os.scandir(self._folder) as entries:
                return [entry.path for entry in entries if entry.path != self._path]
        except FileNotFoundError:
            return []


def _drain(line: socket.socket, heard: Callable[[bytes], None]) -> None:
    with contextlib.suppress(BlockingIOError):
        while True:
            heard(line.recv(4096))


def _short(folder: Path) -> Path:
    """`folder`, or where its path is too long for a socket's, one in the system's temporary one."""
    whole = folder.absolute()
    if len(os.fsencode(whole)) + 24 <= _LONGEST:
        return whole
    digest = hashlib.sha256(os.fsencode(whole.resolve())).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"voxrelay-{os.getuid()}-{digest}"
