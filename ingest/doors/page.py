"""`/`: the page of one file, for trying the relay out with a browser.

Knows the file and what its scripts may do. Refuses to know the relay: the page uses the same doors
as everybody.
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
    """The page, with a policy that lets nothing run but its own script."""
    html, policy = _page()
    headers = {
        "content-security-policy": policy,
        "referrer-policy": "no-referrer",
        "permissions-policy": "microphone=(self)",
        "cache-control": "no-cache",
    }
    return HTMLResponse(html, headers=headers)


@cache
def _page() -> tuple[str, str]:
    html = files("ingest.page").joinpath("index.html").read_text("utf-8")
    hashes: dict[str, str] = {}
    for kind, body in _INLINE.findall(html):
        hashes[kind] = f"'sha256-{b64encode(sha256(body.encode()).digest()).decode()}'"
    policy = (
        f"default-src 'none'; script-src {hashes['script']}; style-src {hashes['style']}; "
        "connect-src 'self'; media-src * blob:; img-src data:; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    )
    return html, policy
