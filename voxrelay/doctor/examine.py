"""The examination: every part looked at, each for a bounded time, whatever the others say.

Knows that a part which is down or wrongly set is a finding and no end of the examination. Refuses
to know the parts.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

from relay.errors import Misconfigured, Unavailable
from relay.settings import Settings
from relay.wechat import WeChatSettings
from voxrelay.doctor.address import look_at_address
from voxrelay.doctor.engine import look_at_engine
from voxrelay.doctor.finding import Finding, Look, bad
from voxrelay.doctor.hooks import look_at_hooks
from voxrelay.doctor.spine import look_at_database, look_at_log, look_at_objects
from voxrelay.doctor.weixin import look_at_wechat

PATIENCE = 20.0
"""Seconds for each part."""


async def examine(settings: Settings, url: str | None = None) -> AsyncIterator[Finding]:
    """What there is to say of the relay of `settings`; with `url`, of that address alone."""
    for part, look in (_address(url) if url else _parts(settings)).items():
        async for finding in _bounded(part, look):
            yield finding


def _address(url: str) -> Mapping[str, Look]:
    return {"address": lambda: look_at_address(url)}


def _parts(settings: Settings) -> Mapping[str, Look]:
    return {
        "database": lambda: look_at_database(settings),
        "log": lambda: look_at_log(settings),
        "objects": lambda: look_at_objects(settings),
        "address": lambda: look_at_address(settings.public_url),
        "wechat": lambda: look_at_wechat(WeChatSettings()),
        "webhooks": lambda: look_at_hooks(settings),
        "engine": lambda: look_at_engine(settings),
    }


async def _bounded(part: str, look: Look) -> AsyncIterator[Finding]:
    try:
        async with asyncio.timeout(PATIENCE):
            found = [finding async for finding in look()]
    except TimeoutError:
        found = [bad(part, f"does not answer within {PATIENCE:g} s", "See that it runs.")]
    except Unavailable as down:
        found = [bad(part, str(down), "See that it runs, and that this machine may reach it.")]
    except Misconfigured as wrong:
        found = [bad(part, str(wrong), "Mend the setting, or do what it says.")]
    for finding in found:
        yield finding
