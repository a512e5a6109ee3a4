"""The analytics process: counts, and shows what it counted.

Knows what runs beside what. Refuses to know figures and doors.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime

from analytics.doors import open_doors
from analytics.figures import Price
from analytics.follower import Follower
from analytics.settings import AnalyticsSettings
from analytics.shelf.open import open_shelf
from relay.http import HttpWorker
from relay.process import Worker
from relay.spine import Spine

log = logging.getLogger(__name__)


def open_analytics(
    settings: AnalyticsSettings,
) -> Callable[[Spine], AbstractAsyncContextManager[Sequence[Worker]]]:
    """Opens the shelf of figures, who fills it, and the doors."""

    @asynccontextmanager
    async def opened(spine: Spine) -> AsyncIterator[Sequence[Worker]]:
        async with open_shelf(spine.settings, spine.database) as shelf:
            counter = Follower(spine.log, shelf, spine.health)
            doors = open_doors(shelf, spine.health, lambda: counter.lag, _now, price(settings))
            http = HttpWorker(doors, settings.host, settings.port)
            log.info("figures are shown at http://%s:%d/", settings.host, http.port)
            yield [counter, http]

    return opened


def price(settings: AnalyticsSettings) -> Price | None:
    """What the settings say speech costs."""
    return None if settings.price is None else Price(settings.price, settings.currency)


def _now() -> datetime:
    return datetime.now(UTC)
