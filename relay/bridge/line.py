"""The bridge as workers: a ferry up, a ferry down, a watch on the line.

Knows which parts of either end each needs. Refuses to stop an edge because of its line: what is
wrong with the cluster is said in readiness and metrics of the bridge's own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

from prometheus_client import Gauge

from relay.bridge import down, up
from relay.bridge.ferry import Ferry, Route
from relay.bridge.settings import BridgeSettings
from relay.bridge.site import down_source, name_of, up_source
from relay.errors import Misconfigured
from relay.http import HttpWorker, Watch, probes
from relay.log.open import open_log
from relay.log.port import Log
from relay.objects.open import open_store
from relay.objects.port import ObjectStore
from relay.process import Worker
from relay.spine import Spine
from relay.sql.marks import SqlMarks
from relay.telemetry import Health

LINE = Gauge("voxrelay_bridge_line", "Whether the cluster answers: 1, or 0")
_LINE = "line"


def open_bridge(
    settings: BridgeSettings,
) -> Callable[[Spine], AbstractAsyncContextManager[Sequence[Worker]]]:
    """Opens the cluster's end over the spine of an edge; `Misconfigured` where it is no edge."""

    @asynccontextmanager
    async def opened(spine: Spine) -> AsyncIterator[Sequence[Worker]]:
        name = _edge(spine)
        async with AsyncExitStack() as stack:
            marks = SqlMarks(spine.database)
            stack.push_async_callback(marks.close)
            log = open_log(settings, marks)
            stack.push_async_callback(log.close)
            store = open_store(settings)
            stack.push_async_callback(store.close)
            health = Health()
            LINE.set_function(lambda: float(_LINE not in health.troubles))
            yield [
                Ferry(_up(name, spine, log), _up_cargo(spine, store, settings), health),
                Ferry(_down(spine, log, settings), _down_cargo(spine, store), health),
                Watch(_LINE, _answers(log, store), health),
                *_doors(settings, health),
            ]

    return opened


def _edge(spine: Spine) -> str:
    settings = spine.settings
    if not (settings.edge and settings.embedded):
        raise Misconfigured(
            "the bridge belongs to an edge: set VOXRELAY_STAGES=ingest,bridge for every process "
            "there, and leave VOXRELAY_LOG at sqlite"
        )
    return name_of(settings.site)


def _up(name: str, spine: Spine, cluster: Log) -> Route:
    return Route(
        "up", up.TOPICS, spine.log, cluster, source=lambda place: up_source(name, place[1])
    )


def _up_cargo(spine: Spine, store: ObjectStore, settings: BridgeSettings) -> up.Up:
    return up.Up(spine.database, spine.keys, spine.store, store, settings.cluster)


def _down(spine: Spine, cluster: Log, settings: BridgeSettings) -> Route:
    # A position in the edge's own file is missing only where nothing was ever appended to it.
    return Route(
        "down",
        down.TOPICS,
        cluster,
        spine.log,
        source=down_source,
        prepares=True,
        since=settings.since,
    )


def _down_cargo(spine: Spine, store: ObjectStore) -> down.Down:
    return down.Down(spine.settings.site, spine.keys, spine.store, store)


def _answers(log: Log, store: ObjectStore) -> Callable[[], Awaitable[None]]:
    async def check() -> None:
        await log.check()
        await store.check()

    return check


def _doors(settings: BridgeSettings, health: Health) -> list[Worker]:
    if settings.port is None:
        return []
    return [HttpWorker(probes(health), "0.0.0.0", settings.port)]
