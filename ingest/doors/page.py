"""`/` and `/docs`: the page that people use, and one for reading the API.

Knows the files. Refuses to know the relay: the pages use the same doors as everybody.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Header
from starlette.responses import Response

from ingest.gateway import Gate, Gateway
from ingest.problems import Problem
from relay.pages import asset, serve

router = APIRouter(include_in_schema=False)

_CLIENT = "voxrelay_web"
"""Lies in `clients/web`: it knows this gateway by its doors alone, as any other client does."""


@router.get("/")
async def page(gateway: Gate) -> Response:
    """Record or choose, write, listen."""
    return serve(_CLIENT, "index.html", _store(gateway))


def _store(gateway: Gateway) -> str:
    """Where sound lies, if elsewhere: the page draws its waveform, and sends a recording again."""
    parts = urlsplit(gateway.objects.url("page/origin", timedelta(minutes=1), "page") or "")
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else ""


@router.get("/page/{name}")
async def page_asset(
    name: str, etag: Annotated[str | None, Header(alias="If-None-Match")] = None
) -> Response:
    """A script or the style of the page."""
    found = asset(_CLIENT, name, etag)
    if found is None:
        raise Problem("not_found")
    return found


@router.get("/docs")
async def docs() -> Response:
    """The API, read from `/openapi.json`; nothing is loaded from strangers."""
    return serve("ingest.page", "docs.html")
