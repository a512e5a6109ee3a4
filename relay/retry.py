"""How long to wait before trying again, when a part of our world does not answer.

Knows one policy for the whole relay: for ever, capped exponential backoff, full jitter (tenacity).
Refuses to retry anything but `Unavailable`.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type
from tenacity.wait import wait_base, wait_random_exponential

from relay.errors import Unavailable
from relay.telemetry import RETRIES, WAITING, Health

T = TypeVar("T")

BACKOFF: wait_base = wait_random_exponential(multiplier=0.1, max=10)
"""Seconds: up to 0.1, 0.2, 0.4 … 10, drawn at random below that."""

log = logging.getLogger(__name__)


async def until_available(
    call: Callable[[], Awaitable[T]],
    part: str,
    health: Health,
    wait: wait_base = BACKOFF,
    *,
    place: str = "",
    waits: Callable[[], None] | None = None,
) -> T:
    """What `call` answers, as soon as it raises no `Unavailable`; health says so meanwhile.

    `place` says what waits, and `waits` is called each time that it begins to.
    """
    try:  # mostly the end of it; the machinery of retrying costs a multiple
        return await call()
    except Unavailable as error:
        first: Unavailable | None = error
    who = object()

    def say(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        RETRIES.labels(part).inc()
        health.trouble(part, f"{place}: {error}" if place else str(error), who)
        if state.attempt_number == 1:
            log.warning("%s: not available, trying again: %s", part, error)
        if waits is not None:
            waits()

    async def attempt() -> T:  # tenacity awaits coroutine functions alone
        nonlocal first
        if first is not None:
            error, first = first, None
            raise error
        return await call()

    retrying = AsyncRetrying(
        retry=retry_if_exception_type(Unavailable), wait=wait, before_sleep=say, reraise=True
    )
    with WAITING.labels(part).track_inprogress():
        try:
            return await retrying(attempt)
        finally:
            health.well(part, who)
