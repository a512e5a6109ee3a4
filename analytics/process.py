"""The analytics process: counts, or reads what workers count, and shows it.

Knows what the settings choose, and what runs beside what. Refuses to know figures and doors.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime

from analytics.definitions import TOPICS
from analytics.doors import open_doors
from analytics.figures import Price
from analytics.follower import Follower
from analytics.names import CHANGES
from analytics.settings import AnalyticsSettings, Counts
from analytics.shelf import COPY, FILE, Shelf, open_shelf
from relay.http import HttpWorker
from relay.process import Worker
from relay.spine import Spine

log = logging.getLogger(__name__)


def open_analytics(
    settings: AnalyticsSettings,
) -> Callable[[Spine], AbstractAsyncContextManager[Sequence[Worker]]]:
    """Opens the file of figures, who fills it, and the doors."""

    @asynccontextmanager
    async def opened(spine: Spine) -> AsyncIterator[Sequence[Worker]]:
        here = settings.counts is Counts.HERE
        with open_shelf(spine.settings.data / (FILE if here else COPY)) as shelf:
            counter = counting(spine, shelf) if here else copying(spine, shelf)
            doors = open_doors(shelf, spine.health, lambda: counter.lag, _now, price(settings))
            http = HttpWorker(doors, settings.host, settings.port)
            log.info("figures are shown at http://%s:%d/", settings.host, http.port)
            yield [counter, http]

    return opened


def counting(spine: Spine, shelf: Shelf) -> Follower:
    """Counts the chain's topics."""
    return Follower(spine.log, TOPICS, shelf, shelf.take, spine.health)


def copying(spine: Spine, shelf: Shelf) -> Follower:
    """Reads the rows that workers count, as soon as there are any."""
    return Follower(spine.log, [CHANGES], shelf, shelf.copy, spine.health, patient=True)


def price(settings: AnalyticsSettings) -> Price | None:
    """What the settings say speech costs."""
    return None if settings.price is None else Price(settings.price, settings.currency)


def _now() -> datetime:
    return datetime.now(UTC)
