"""A line between an edge and its cluster that can be cut: now, or in the middle of something."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any

from infra.servers.process import HOST, free_port

_PIECE = 4096


class Wire:
    """TCP to ports of this machine, each under a port of the wire's own; `with Wire() as wire`."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._servers: list[asyncio.Server] = []
        self._open: set[asyncio.StreamWriter] = set()
        self._up = True
        self._fuse: int | None = None
        self.cut_in_mid = threading.Event()
        """Set when the line was cut in the middle of something."""

    def __enter__(self) -> Wire:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def to(self, port: int, own: int | None = None) -> int:
        """The wire's own port that leads to `port`."""
        own = own or free_port()
        self._do(self._serve(port, own))
        return own

    def cut(self) -> None:
        """Reset every connection, and every one that is tried until `mend`."""
        self._do(self._cut())

    def cut_after(self, size: int) -> None:
        """Cut once a connection has carried `size` more bytes one way."""
        self.cut_in_mid.clear()
        self._fuse = size

    def mend(self) -> None:
        """The line is there again."""
        self._fuse, self._up = None, True

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _serve(self, port: int, own: int) -> None:
        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if not self._up:
                writer.transport.abort()
                return
            try:
                far_reader, far_writer = await asyncio.open_connection(HOST, port)
            except OSError:
                writer.transport.abort()
                return
            self._open |= {writer, far_writer}
            await asyncio.gather(self._pass(reader, far_writer), self._pass(far_reader, writer))

        self._servers.append(await asyncio.start_server(connected, HOST, own))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        carried = 0
        try:
            while piece := await reader.read(_PIECE):
                carried = carried + len(piece) if self._fuse is not None else 0
                if self._fuse is not None and carried >= self._fuse:
                    self._fuse = None
                    await self._cut()
                    self.cut_in_mid.set()
                    return
                writer.write(piece)
                await writer.drain()
        except OSError:
            pass  # cut, or an end has gone: the other is told by what follows
        finally:
            self._open.discard(writer)
            writer.close()

    async def _cut(self) -> None:
        self._up = False
        for writer in self._open:
            writer.transport.abort()
        self._open.clear()

    async def _close(self) -> None:
        await self._cut()
        for server in self._servers:
            server.close()
