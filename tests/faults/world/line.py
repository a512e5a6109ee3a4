"""TCP lines that can be slow, cut, deaf or closed: put between a client and a server.

Knows bytes and connections. Refuses to know what is said on them. The lines of one `Lines` run on a
loop in a thread of their own, since who uses them may block; every call returns once it is done.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

from infra.servers.process import HOST, free_port

T = TypeVar("T")

_PIECE = 64 * 1024
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER of a socket that ends with a reset, not with a goodbye."""


class Lines:
    """The loop that lines run on; `with Lines() as lines: lines.to(port)`."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._open: list[Line] = []

    def to(self, target: int, port: int | None = None) -> Line:
        """An open line to the port `target`; clients come to its own `port`."""
        line = Line(self, target, port or free_port())
        line.open()
        self._open.append(line)
        return line

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for line in self._open:
            line.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """What `work` brings, done on the lines' loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


class Line:
    """One port that leads to another. Seconds: each piece waits `delay`, and up to `jitter` more.

    A connection that was there while the line was deaf stays so for ever, as one does whose state
    a router on the way has forgotten: nobody closes it and nothing comes.
    """

    def __init__(self, lines: Lines, target: int, port: int) -> None:
        self._lines, self._target, self.port = lines, target, port
        self.delay = self.jitter = 0.0
        self._deaf = False
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()

    def open(self) -> None:
        """Take connections (again)."""
        self._lines.do(self._listen())

    def close(self) -> None:
        """Refuse connections, and reset those there are."""
        self._lines.do(self._shut())

    def reset(self, draw: random.Random | None = None) -> None:
        """Reset every connection; with `draw` one of them."""
        self._lines.do(self._cut(draw))

    def deafen(self) -> None:
        """Take connections and say nothing, on any, until `mend`."""
        self._lines.do(self._mute(True))

    def mend(self) -> None:
        """Connections from now on work; those that went deaf do not."""
        self._lines.do(self._mute(False))

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._took, HOST, self.port)

    async def _shut(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()
        await self._cut(None)

    async def _cut(self, draw: random.Random | None) -> None:
        there = sorted(self._connections, key=id)
        for connection in [draw.choice(there)] if draw and there else there:
            connection.cut()

    async def _mute(self, deaf: bool) -> None:
        self._deaf = deaf
        for connection in self._connections if deaf else ():
            connection.deaf = True

    async def _took(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(self, writer)
        connection.deaf = self._deaf
        self._connections.add(connection)
        try:
            await connection.run(reader, self._target)
        except (OSError, asyncio.IncompleteReadError):
            connection.cut()
        finally:
            self._connections.discard(connection)


class _Connection:
    """Both ways of one connection."""

    def __init__(self, line: Line, client: asyncio.StreamWriter) -> None:
        self._line = line
        self._ends = [client]
        self.deaf = False
        self._over = asyncio.Event()

    async def run(self, reader: asyncio.StreamReader, target: int) -> None:
        """Carry until one side ends; a deaf connection is held until it is cut."""
        if self.deaf:
            await self._over.wait()
            return
        other, server = await asyncio.open_connection(HOST, target)
        self._ends.append(server)
        ways = [
            asyncio.create_task(self._carry(reader, server)),
            asyncio.create_task(self._carry(other, self._ends[0])),
        ]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        if self.deaf:
            await self._over.wait()
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        for end in self._ends:
            end.close()

    def cut(self) -> None:
        """Reset both sides."""
        self._over.set()
        for end in self._ends:
            line = end.get_extra_info("socket")
            if line is not None and line.fileno() >= 0:
                line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            end.transport.abort()

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        """Pieces in order, each held up by itself: a delay costs no throughput."""
        held: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(maxsize=256)
        pouring = asyncio.create_task(self._pour(held, sink))
        clock = asyncio.get_running_loop().time
        due = 0.0
        try:
            while piece := await source.read(_PIECE):
                wait = self._line.delay + random.uniform(0, self._line.jitter)
                due = max(due, clock() + wait)
                await held.put((due, piece))
            await held.put((due, b""))
            await pouring
        finally:
            pouring.cancel()

    async def _pour(
        self, held: asyncio.Queue[tuple[float, bytes]], sink: asyncio.StreamWriter
    ) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            due, piece = await held.get()
            if (wait := due - clock()) > 0:
                await asyncio.sleep(wait)
            if self.deaf:
                await self._over.wait()
            if not piece:
                return
            sink.write(piece)
            await sink.drain()
