"""Pages, served so that nothing runs in them but their own scripts.

Knows where a page's files lie and the policy that follows from what is in it. Refuses to know what
a page is for.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from importlib.resources import files

from starlette.responses import HTMLResponse, Response

_TYPES = {".css": "text/css", ".js": "text/javascript"}
_INLINE = re.compile(r"<(script|style)>(.*?)</\1>", re.DOTALL)


def serve(package: str, name: str, store: str = "") -> Response:
    """The page `name` in `package`; script and style are in it, or files beside it.

    `store` is an origin other than ours that it may read from.
    """
    html, policy = _page(package, name)
    headers = {
        "content-security-policy": f"{policy}; connect-src 'self' {store}".rstrip(),
        "referrer-policy": "no-referrer",
        "permissions-policy": "microphone=(self)",
        "cache-control": "no-cache",
    }
    return HTMLResponse(html, headers=headers)


def asset(package: str, name: str, etag: str | None) -> Response | None:
    """The script or style `name` beside a page, 304 where `etag` is its own; None: no such file."""
    found = _assets(package).get(name)
    if found is None:
        return None
    content, media_type = found
    own = f'"{sha256(content).hexdigest()[:32]}"'
    headers = {"cache-control": "no-cache", "etag": own, "x-content-type-options": "nosniff"}
    if etag == own:
        return Response(None, 304, headers)
    return Response(content, 200, headers, media_type)


@cache
def _assets(package: str) -> Mapping[str, tuple[bytes, str]]:
    """Every script and style in `package`, with its media type."""
    return {
        file.name: (file.read_bytes(), media_type)
        for file in files(package).iterdir()
        for suffix, media_type in _TYPES.items()
        if file.name.endswith(suffix)
    }


@cache
def _page(package: str, name: str) -> tuple[str, str]:
    """The page, and a policy that lets nothing run but its own scripts."""
    html = files(package).joinpath(name).read_text("utf-8")
    hashes = {"script": "'self'", "style": "'self'"}
    for kind, body in _INLINE.findall(html):
        hashes[kind] = f"'sha256-{b64encode(sha256(body.encode()).digest()).decode()}'"
    policy = (
        f"default-src 'none'; script-src {hashes['script']}; style-src {hashes['style']}; "
        "media-src * blob:; img-src data:; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    )
    return html, policy
