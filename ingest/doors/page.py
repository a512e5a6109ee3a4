"""`/` and `/docs`: pages of one file, for trying the relay out and for reading its API.

Knows the files and what their scripts may do. Refuses to know the relay: the pages use the same
doors as everybody.
"""

from __future__ import annotations

import re
from base64 import b64encode
from functools import cache
from hashlib import sha256
from importlib.resources import files

from fastapi import APIRouter
from starlette.responses import HTMLResponse, Response

router = APIRouter(include_in_schema=False)
_INLINE = re.compile(r"<(script|style)>(.*?)</\1>", re.DOTALL)


@router.get("/")
async def page() -> Response:
    """Record or choose, write, listen."""
    return _served("index.html")


@router.get("/docs")
async def docs() -> Response:
    """The API, read from `/openapi.json`; nothing is loaded from strangers."""
    return _served("docs.html")


def _served(name: str) -> Response:
    html, policy = _page(name)
    headers = {
        "content-security-policy": policy,
        "referrer-policy": "no-referrer",
        "permissions-policy": "microphone=(self)",
        "cache-control": "no-cache",
    }
    return HTMLResponse(html, headers=headers)


@cache
def _page(name: str) -> tuple[str, str]:
    """The page, and a policy that lets nothing run but its own script."""
    html = files("ingest.page").joinpath(name).read_text("utf-8")
    hashes: dict[str, str] = {}
    for kind, body in _INLINE.findall(html):
        hashes[kind] = f"'sha256-{b64encode(sha256(body.encode()).digest()).decode()}'"
    policy = (
        f"default-src 'none'; script-src {hashes['script']}; style-src {hashes['style']}; "
        "connect-src 'self'; media-src * blob:; img-src data:; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    )
    return html, policy
