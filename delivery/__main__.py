"""Runs delivery as a process of its own: settings in, runner out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from delivery.settings import DeliverySettings
from delivery.stage import Delivery
from relay.process import Build, run_stage
from relay.runner import Limits
from relay.spine import Spine
from relay.stage import Stage


def open_stage(settings: DeliverySettings) -> Build:
    """Opens the stage; there is nothing to load."""

    @asynccontextmanager
    async def opened(spine: Spine) -> AsyncIterator[Stage]:
        yield Delivery(spine.store, producer=settings.producer, kbps=settings.kbps)

    return opened


def limits(settings: DeliverySettings) -> Limits:
    """How much the process takes on."""
    return Limits(in_flight=settings.in_flight)


if __name__ == "__main__":
    _settings = DeliverySettings()
    run_stage(open_stage(_settings), limits(_settings))
