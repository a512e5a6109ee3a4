"""What a worker that serves HTTP does on the wire."""

from __future__ import annotations

import asyncio
import socket

from relay.http import HttpWorker, probes
from relay.telemetry import Health


async def test_the_body_of_an_answer_does_not_wait_for_its_head_to_be_acknowledged() -> None:
    """Clients that keep their connection acknowledge after 40 ms, if nothing else is to be said."""
    worker = HttpWorker(probes(Health()), "127.0.0.1", 0)
    running = asyncio.create_task(worker.run())
    reader, writer = await asyncio.open_connection("127.0.0.1", worker.port)
    try:
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: relay\r\n\r\n")
        await reader.readuntil(b"alive")
        (connection,) = worker._server.server_state.connections
        line = connection.transport.get_extra_info("socket")
        assert line.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    finally:
        writer.close()
        worker.stop()
        await running
