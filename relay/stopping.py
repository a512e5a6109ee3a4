"""Ending a loop that has been told to stop, even where it waits for a world that is down.

Knows a signal and a term of grace. Refuses to know what the loop does; it has to be safe to cancel.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

GRACE = 10.0
"""Seconds that a loop has to end by itself."""


async def until_stopped(
    loop: Coroutine[Any, Any, None], stopping: asyncio.Event, grace: float | None = None
) -> None:
    """Run `loop`; once `stopping` is set, give it `grace` more seconds, then cancel it.

    Raises what the loop raised.
    """
    work = asyncio.create_task(loop)
    stop = asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait({work}, timeout=GRACE if grace is None else grace)
    finally:
        stop.cancel()
        work.cancel()
        await asyncio.gather(work, stop, return_exceptions=True)
    if not work.cancelled():
        work.result()


async def unless_stopped(call: Coroutine[Any, Any, T], stopping: asyncio.Event) -> T | None:
    """What `call` answers, or None where `stopping` is set before; it is cancelled then.

    Raises what it raised.
    """
    work = asyncio.create_task(call)
    stop = asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
        return work.result() if work.done() else None
    finally:
        stop.cancel()
        work.cancel()
        await asyncio.wait({work, stop})
