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
        await asyncio.gather(*(connection.over.wait() for connection in self._connections))

    async def _cut(self, draw: random.Random | None) -> None:
        there = sorted(self._connections, key=id)
        for connection in [draw.choice(there)] if draw and there else there:
            connection.cut()

    async def _mute(self, deaf: bool) -> None:
        self._deaf = deaf
        for connection in self._connections if deaf else ():
            connection.deaf = True

    async def _took(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(self, reader, writer, self._deaf)
        self._connections.add(connection)
        try:
            await connection.run(self._target)
        except OSError:
            connection.cut()
        finally:
            self._connections.discard(connection)
            connection.over.set()


class _Connection:
    """Both ways of one connection."""

    def __init__(
        self, line: Line, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, deaf: bool
    ) -> None:
        self._line, self._client, self.deaf = line, (reader, writer), deaf
        self._writers = [writer]
        self._cut, self.over = asyncio.Event(), asyncio.Event()

    async def run(self, target: int) -> None:
        """Carry until one side ends; a deaf connection is held until it is cut."""
        cut = asyncio.create_task(self._cut.wait())
        ways: list[asyncio.Task[Any]] = []
        try:
            if not self.deaf:
                server = await asyncio.open_connection(HOST, target)
                self._writers.append(server[1])
                pairs = (self._client[0], server[1]), (server[0], self._client[1])
                ways = [asyncio.create_task(self._carry(*pair)) for pair in pairs]
                await asyncio.wait([cut, *ways], return_when=asyncio.FIRST_COMPLETED)
            if self.deaf:
                await cut
        finally:
            for task in (cut, *ways):
                task.cancel()
            await asyncio.gather(cut, *ways, return_exceptions=True)
            for writer in self._writers:
                writer.close()

    def cut(self) -> None:
        """Reset both sides."""
        self._cut.set()
        for writer in self._writers:
            line = writer.get_extra_info("socket")
            if line is not None and line.fileno() >= 0:
                line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        """Pieces in order, each held up by itself: a delay costs no throughput."""
        held: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(maxsize=256)
        pouring = asyncio.create_task(self._pour(held, sink))
        due, piece = 0.0, b"begun"
        try:
            while piece and not pouring.done():
                piece = await source.read(_PIECE)
                wait = self._line.delay + random.uniform(0, self._line.jitter)
                due = max(due, asyncio.get_running_loop().time() + wait)
                await held.put((due, piece))
            await pouring
        finally:
            pouring.cancel()
            await asyncio.gather(pouring, return_exceptions=True)

    async def _pour(
        self, held: asyncio.Queue[tuple[float, bytes]], sink: asyncio.StreamWriter
    ) -> None:
        while True:
            due, piece = await held.get()
            wait = due - asyncio.get_running_loop().time()
            if wait > 0:
                await asyncio.sleep(wait)
            if self.deaf:
                await self._cut.wait()
            if not piece:
                return
            sink.write(piece)
            await sink.drain()
