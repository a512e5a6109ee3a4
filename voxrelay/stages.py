"""The processes of the relay by name, and what each runs.

Knows how a stage's opener becomes workers. Refuses to know the handlers.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

from relay.limits import Limits
from relay.process import Build, Worker, operator_doors, run_workers, runner_of
from relay.settings import Settings
from relay.spine import Spine, open_spine

Open = Callable[[Spine], AbstractAsyncContextManager[Sequence[Worker]]]


def _ingest() -> Open:
    from ingest.__main__ import open_gateway
    from ingest.settings import IngestSettings
    from relay.wechat import WeChatSettings
    from voxrelay.doors import furnish

    return open_gateway(IngestSettings(), WeChatSettings(), furnish)


def _moderation() -> Open:
    from moderation.__main__ import limits, open_stage
    from moderation.settings import ModerationSettings

    settings = ModerationSettings()
    return _running(open_stage(settings), limits(settings))


def _synth() -> Open:
    from synth.__main__ import limits, open_stage
    from synth.settings import SynthSettings

    settings = SynthSettings()
    return _running(open_stage(settings), limits(settings))


def _delivery() -> Open:
    from delivery.__main__ import limits, open_stage
    from delivery.settings import DeliverySettings

    settings = DeliverySettings()
    return _running(open_stage(settings), limits(settings))


def _notify() -> Open:
    from delivery.notify.__main__ import open_notify
    from relay.wechat import WeChatSettings

    return open_notify(WeChatSettings())


def _audit() -> Open:
    from audit.keeper import open_keeper
    from audit.settings import AuditSettings

    return open_keeper(AuditSettings())


def _analytics() -> Open:
    from analytics.process import open_analytics
    from analytics.settings import AnalyticsSettings

    return open_analytics(AnalyticsSettings())


def _bridge() -> Open:
    from relay.bridge.line import open_bridge
    from relay.bridge.settings import BridgeSettings

    return open_bridge(BridgeSettings())


def _running(build: Build, limits: Limits) -> Open:
    @asynccontextmanager
    async def opened(spine: Spine) -> AsyncIterator[Sequence[Worker]]:
        async with build(spine) as stage:
            yield [runner_of(stage, spine, limits)]

    return opened


# Imported when named: a delivery process loads no torch.
STAGES: dict[str, Callable[[], Open]] = {
    "ingest": _ingest,
    "moderation": _moderation,
    "synth": _synth,
    "delivery": _delivery,
    "notify": _notify,
    "audit": _audit,
    "analytics": _analytics,
    "bridge": _bridge,
}


@asynccontextmanager
async def open_workers(names: Sequence[str], spine: Spine) -> AsyncIterator[list[Worker]]:
    """The workers of the named stages, over one spine."""
    async with AsyncExitStack() as stack:
        workers: list[Worker] = []
        for name in names:
            workers += await stack.enter_async_context(STAGES[name]()(spine))
        yield workers


async def run(names: Sequence[str], settings: Settings) -> None:
    """Run the named stages as this process until it is told to stop."""
    async with open_spine(settings) as spine, open_workers(names, spine) as workers:
        await run_workers([*workers, *operator_doors(spine)])
