"""A proxy that ends TLS under another host name, as operators put before the gateway."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

from infra.servers.certificates import make_certificates
from infra.servers.process import free_port

HOP = {"host", "connection", "transfer-encoding", "content-length"}


@contextmanager
def tls_proxy(upstream: str, folder: Path, client_address: str) -> Iterator[tuple[str, Path]]:
    """(address, CA file) of a proxy before `upstream`, telling it of a client elsewhere."""
    make_certificates(folder)
    port = free_port()
    public = f"https://localhost:{port}"
    line = httpx.AsyncClient(base_url=upstream, timeout=None)

    async def forward(request: Request) -> StreamingResponse:
        headers = {k: v for k, v in request.headers.items() if k not in HOP}
        headers |= {"x-forwarded-for": client_address, "x-forwarded-proto": "https"}
        headers["x-forwarded-host"] = f"localhost:{port}"
        url = httpx.URL(path=request.url.path, query=request.url.query.encode())
        asked = line.build_request(
            request.method, url, headers=headers, content=await request.body()
        )
        answer = await line.send(asked, stream=True)
        kept = {k: v for k, v in answer.headers.items() if k not in HOP}
        return StreamingResponse(answer.aiter_raw(), answer.status_code, kept)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with line:
            yield

    routes = [Route("/{path:path}", forward, methods=["GET", "POST"])]
    app = Starlette(routes=routes, lifespan=lifespan)
    config = uvicorn.Config(
        app,
        port=port,
        log_level="warning",
        ssl_keyfile=folder / "server.key",
        ssl_certfile=folder / "server.crt",
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the proxy did not start"
            thread.join(0.02)
        yield public, folder / "ca.pem"
    finally:
        server.should_exit = True
        thread.join(15)
