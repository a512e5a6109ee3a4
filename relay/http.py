"""Serving an ASGI application as a worker among others, and the operator's probes.

Knows uvicorn and how it starts and stops without taking the process's signals. Refuses to know
routes other than the probes'.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from relay.errors import Misconfigured
from relay.patience import PatientProtocol
from relay.retry import until_available
from relay.stopping import until_stopped
from relay.telemetry import Health

_LONGEST_MESSAGE = 65_536
"""Bytes of one WebSocket message; what is asked there is some words."""


class _Server(uvicorn.Server):
    """Leaves signals to whoever runs the process."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class HttpWorker:
    """An ASGI application on a port, as a `relay.process.Worker`.

    The port is bound at construction (0 takes a free one, see `port`), so that a port in use is
    said before anything starts.
    """

    def __init__(self, app: ASGIApp, host: str, port: int) -> None:
        try:
            self._socket = socket.create_server((host, port), reuse_port=False, backlog=512)
        except OSError as wrong:
            raise Misconfigured(f"port {port} of {host} cannot be used: {wrong.strerror}") from None
        # Connections inherit it. asyncio does it only where a socket names its protocol, and this
        # one does not: the body of an answer waited 40 ms for its head to be acknowledged.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.port: int = self._socket.getsockname()[1]
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=10,
            proxy_headers=False,  # whom to believe is a setting of the gateway, not uvicorn's
            server_header=False,
            http=PatientProtocol,
            ws_max_size=_LONGEST_MESSAGE,
        )
        self._server = _Server(config)

    async def run(self) -> None:
        """Serve until `stop`."""
        await self._server.serve(sockets=[self._socket])

    def stop(self) -> None:
        """Take no more requests and end when those under way have ended."""
        self._server.should_exit = True


class Watch:
    """Notices, while there is nothing to do, that a part of our world is gone, or back."""

    def __init__(
        self, part: str, check: Callable[[], Awaitable[None]], health: Health, every: float = 5.0
    ) -> None:
        self._part, self._check, self._health, self._every = part, check, health, every
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Check every few seconds until `stop`; a fault in checking ends it."""
        await until_stopped(self._watch(), self._stopping, grace=0)

    def stop(self) -> None:
        self._stopping.set()

    async def _watch(self) -> None:
        while True:
            try:
                await until_available(self._check, self._part, self._health)
                self._health.well(self._part)
            except Misconfigured as wrong:  # it was right when we started: for an operator to see
                self._health.trouble(self._part, str(wrong))
            await asyncio.sleep(self._every)


def probes(health: Health) -> Starlette:
    """The operator's doors of a process: /healthz, /readyz and /metrics."""

    async def healthz(request: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def readyz(request: Request) -> Response:
        status = 200 if health.ready else 503
        return JSONResponse({"ready": health.ready, "troubles": health.troubles}, status)

    async def metrics(request: Request) -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    routes = [Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", metrics)]
    return Starlette(routes=routes)
