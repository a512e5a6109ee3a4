"""`/NAME.txt`: files that somebody wants to find at the root, to see whose the domain is.

Knows a folder of the operator's; WeChat's domain verification is such a file. Refuses to serve
anything but small text files lying right in it.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter
from fastapi import Path as InPath
from starlette.responses import PlainTextResponse, Response

from ingest.gateway import Gate
from ingest.problems import Problem

router = APIRouter(include_in_schema=False)

_LARGEST = 4_096
Name = Annotated[str, InPath(pattern=r"^[A-Za-z0-9_-]{1,100}$")]


@router.get("/{proof}.txt")
async def show(proof: Name, gateway: Gate) -> Response:
    """The file; `not_found` where there is none."""
    folder = gateway.settings.domain_files
    text = await asyncio.to_thread(_read, folder / f"{proof}.txt") if folder else None
    if text is None:
        raise Problem("not_found")
    return PlainTextResponse(text)


def _read(path: Path) -> bytes | None:
    if path.is_symlink() or not path.is_file() or path.stat().st_size > _LARGEST:
        return None
    return path.read_bytes()
