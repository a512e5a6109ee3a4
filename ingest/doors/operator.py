"""`/healthz`, `/readyz`, `/metrics`: for whoever runs the gateway.

Knows which parts of our world the gateway leans on, and asks each. Refuses to know users.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import JSONResponse

from ingest.gateway import Gate, Gateway
from relay.errors import Misconfigured, Unavailable
from relay.telemetry import PATIENCE

router = APIRouter(include_in_schema=False)


@router.get("/healthz")
async def healthz() -> Response:
    """This process answers."""
    return JSONResponse({"status": "alive"})


@router.get("/readyz")
async def readyz(gateway: Gate) -> Response:
    """Which part of our world is down; with the log alone down jobs are accepted all the same."""
    body = await readiness(gateway)
    return JSONResponse(body, 200 if body["ready"] else 503)


async def readiness(gateway: Gateway) -> dict[str, Any]:
    """Whether the gateway is ready, whether it accepts, and what is wrong, part by part."""
    parts = {
        "database": gateway.database.check,
        "objects": gateway.objects.check,
        "log": gateway.log.check,
    }
    said = await asyncio.gather(*(_trouble(check) for check in parts.values()))
    troubles = dict(gateway.health.troubles)
    troubles |= {part: trouble for part, trouble in zip(parts, said, strict=True) if trouble}
    accepting = "database" not in troubles and "objects" not in troubles
    return {"ready": not troubles, "accepting": accepting, "troubles": troubles}


@router.get("/metrics")
async def metrics() -> Response:
    """Prometheus' text."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


async def _trouble(check: Callable[[], Awaitable[None]]) -> str | None:
    try:
        async with asyncio.timeout(PATIENCE):
            await check()
    except (Unavailable, Misconfigured) as trouble:  # it was right when we started
        return str(trouble)
    except TimeoutError:
        return f"does not answer within {PATIENCE:g} s"
    return None
