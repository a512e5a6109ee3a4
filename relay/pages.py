"""Pages of one file, served so that nothing runs in them but their own script.

Knows where a page's file lies and the policy that follows from what is in it. Refuses to know what
a page is for.
"""

from __future__ import annotations

import re
from base64 import b64encode
from functools import cache
from hashlib import sha256
from importlib.resources import files

from starlette.responses import HTMLResponse, Response

_INLINE = re.compile(r"<(script|style)>(.*?)</\1>", re.DOTALL)


def serve(package: str, name: str) -> Response:
    """The page `name` in `package`; it has one script and one style."""
    html, policy = _page(package, name)
    headers = {
        "content-security-policy": policy,
        "referrer-policy": "no-referrer",
        "permissions-policy": "microphone=(self)",
        "cache-control": "no-cache",
    }
    return HTMLResponse(html, headers=headers)


@cache
def _page(package: str, name: str) -> tuple[str, str]:
    """The page, and a policy that lets nothing run but its own script."""
    html = files(package).joinpath(name).read_text("utf-8")
    hashes: dict[str, str] = {}
    for kind, body in _INLINE.findall(html):
        hashes[kind] = f"'sha256-{b64encode(sha256(body.encode()).digest()).decode()}'"
    policy = (
        f"default-src 'none'; script-src {hashes['script']}; style-src {hashes['style']}; "
        "connect-src 'self'; media-src * blob:; img-src data:; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    )
    return html, policy
