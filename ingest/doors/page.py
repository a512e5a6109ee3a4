"""`/` and `/docs`: pages of one file, for trying the relay out and for reading its API.

Knows the files. Refuses to know the relay: the pages use the same doors as everybody.
"""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from relay.pages import serve

router = APIRouter(include_in_schema=False)


@router.get("/")
async def page() -> Response:
    """Record or choose, write, listen."""
    return serve("ingest.page", "index.html")


@router.get("/docs")
async def docs() -> Response:
    """The API, read from `/openapi.json`; nothing is loaded from strangers."""
    return serve("ingest.page", "docs.html")
