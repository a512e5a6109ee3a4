"""The auditor's page.

Knows its address. Refuses to know what is on it.
"""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from relay.pages import serve

pages = APIRouter(include_in_schema=False)


@pages.get("/audit")
async def audit_page() -> Response:
    """For the auditor; whoever opens it sees nothing until they have proved who they are."""
    return serve("audit.page", "index.html")
