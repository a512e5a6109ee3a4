"""Runs what calls outside as a process of its own, so that no other needs a way out.

Knows which handlers of the timer those are. Refuses to know what they do.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

from delivery.notify.messenger import Messenger
from delivery.notify.sender import Sender
from delivery.notify.webhook import Poster
from relay.notices import WEBHOOK, WECHAT
from relay.outward import Outward
from relay.process import Worker, operator_doors, run_main, run_workers
from relay.settings import Settings
from relay.spine import Spine, open_spine
from relay.timer import Handler, Timer
from relay.wechat import WeChatSettings

AT_ONCE = 64
"""Receivers that are called at once: they are slow, and cost nothing meanwhile."""


def open_notify(
    wechat: WeChatSettings,
) -> Callable[[Spine], AbstractAsyncContextManager[Sequence[Worker]]]:
    """Opens the timers that tell others over a spine: one for each way, none waits for another."""

    @asynccontextmanager
    async def opened(spine: Spine) -> AsyncIterator[Sequence[Worker]]:
        async with AsyncExitStack() as stack:
            poster = Poster(Outward(spine.settings.webhook_networks))
            stack.push_async_callback(poster.close)
            sender = Sender(spine.database, spine.keys, poster)
            timers = [_timer(spine, WEBHOOK, sender)]
            if wechat.messages:
                messenger = Messenger(spine.database, spine.keys, wechat)
                stack.push_async_callback(messenger.close)
                timers.append(_timer(spine, WECHAT, messenger))
            yield timers

    return opened


def _timer(spine: Spine, kind: str, handler: Handler) -> Timer:
    return Timer(spine.database, spine.keys, {kind: handler}, spine.health, at_once=AT_ONCE)


async def _main() -> None:
    opened = open_notify(WeChatSettings())
    async with open_spine(Settings()) as spine, opened(spine) as workers:
        await run_workers([*workers, *operator_doors(spine)])


if __name__ == "__main__":
    run_main(_main)
