"""Runs what calls outside as a process of its own, so that no other needs a way out.

Knows which handlers of the timer those are. Refuses to know what they do.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from delivery.notify.sender import Sender
from delivery.notify.webhook import Poster
from relay.notices import WEBHOOK
from relay.outward import Outward
from relay.process import Worker, operator_doors, run_main, run_workers
from relay.settings import Settings
from relay.spine import Spine, open_spine
from relay.timer import Timer

AT_ONCE = 64
"""Receivers that are called at once: they are slow, and cost nothing meanwhile."""


@asynccontextmanager
async def open_notify(spine: Spine) -> AsyncIterator[Sequence[Worker]]:
    """The timer that tells others, over a spine."""
    poster = Poster(Outward(spine.settings.webhook_networks))
    sender = Sender(spine.database, spine.keys, poster)
    try:
        yield [Timer(spine.database, spine.keys, {WEBHOOK: sender}, spine.health, at_once=AT_ONCE)]
    finally:
        await poster.close()


async def _main() -> None:
    async with open_spine(Settings()) as spine, open_notify(spine) as workers:
        await run_workers([*workers, *operator_doors(spine)])


if __name__ == "__main__":
    run_main(_main)
