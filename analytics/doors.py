"""What the analytics process answers: the dashboard, the figures as JSON, and metrics.

Knows HTTP and what may be asked. Refuses to count, and has nothing to show that is a person's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.responses import Response

from analytics.figures import Price, Span, answer
from analytics.metrics import RECENT, Metrics
from analytics.rows import KEPT, Size
from analytics.shelf.port import Shelf
from relay.errors import Unavailable
from relay.http import probes
from relay.pages import serve
from relay.telemetry import Health

MOST = 840
"""Windows in one answer."""
_LONGEST_SLIDE = 100

Last = Annotated[int, Query(ge=1, le=MOST, description="How many windows, the current one last.")]
Sliding = Annotated[
    int,
    Query(ge=1, le=_LONGEST_SLIDE, description="How many windows each one sums up; 1: tumbling."),
]


def open_doors(
    shelf: Shelf,
    health: Health,
    lag: Callable[[], int],
    now: Callable[[], datetime],
    price: Price | None = None,
) -> FastAPI:
    """The application."""
    app = FastAPI(title="VoxRelay analytics", docs_url=None, redoc_url=None)

    @app.get("/", include_in_schema=False)
    async def dashboard() -> Response:
        """Live charts."""
        return serve("analytics.page", "index.html")

    @app.get("/v1/figures")
    async def figures(size: Size = Size.MINUTE, last: Last = 60, sliding: Sliding = 1) -> Any:
        """Figures of the last windows, and of all of them together; times are event times."""
        span = Span(size, min(last, KEPT[size]), now(), sliding)
        rows = await shelf.rows(size, span.since)
        return {"lag": lag(), **await asyncio.to_thread(answer, span, rows, price)}

    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        """Of the figures, and of this process."""
        days = await shelf.total(Size.DAY)
        recent = await shelf.total(Size.MINUTE, int((now() - RECENT).timestamp()))
        registry = CollectorRegistry()
        registry.register(Metrics(days, recent, lag(), price))
        ours = await asyncio.to_thread(generate_latest, registry)
        return Response(ours + generate_latest(), media_type=CONTENT_TYPE_LATEST)

    app.add_exception_handler(RequestValidationError, _refused)
    app.add_exception_handler(Unavailable, _unavailable)
    app.mount("/", probes(health))
    return app


async def _refused(request: Request, wrong: Exception) -> Response:
    assert isinstance(wrong, RequestValidationError)
    said = "; ".join(f"{error['loc'][-1]}: {error['msg']}" for error in wrong.errors())
    return _problem(422, "invalid_request", said)


async def _unavailable(request: Request, why: Exception) -> Response:
    return _problem(503, "unavailable", str(why))


def _problem(status: int, code: str, detail: str) -> Response:
    told = {"type": "about:blank", "status": status, "code": code, "detail": detail}
    return JSONResponse(told, status, media_type="application/problem+json")
