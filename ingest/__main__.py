"""The gateway as a process: its doors, and the loops that belong to accepting and to seeing.

Knows which workers these are. Refuses to know how a process runs them (`relay.process` does).
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta

from fastapi import FastAPI

from ingest.accounts import links
from ingest.app import build
from ingest.ending import HANDLERS
from ingest.refusals import Refusals
from ingest.settings import IngestSettings
from ingest.view import View
from ingest.voices import REVOKE, Revoker
from relay.doorbell import Doorbell, open_doorbell
from relay.http import HttpWorker
from relay.limits import Limits
from relay.outbox import Outbox
from relay.process import Worker, operator_doors, run_main, run_workers, runner_of
from relay.retry import until_available
from relay.settings import Settings
from relay.spine import Spine, open_spine
from relay.sql.database import Transaction
from relay.sweep import EVERY, SWEEP, Sweeper
from relay.timer import Timer
from relay.wechat import WeChatSettings

VIEW_LIMITS = Limits(in_flight=64)
"""What is in flight together is written in one transaction."""


class Doors(HttpWorker):
    """The application on its port; streams that are open when it stops are told to end."""

    def __init__(self, app: FastAPI, settings: IngestSettings) -> None:
        super().__init__(app, settings.host, settings.port)
        self._app = app

    def stop(self) -> None:
        """Take no more requests, and end the streams at their next breath."""
        if (gateway := getattr(self._app.state, "gateway", None)) is not None:
            gateway.closing.set()
        super().stop()


def open_gateway(
    ingest: IngestSettings,
    wechat: WeChatSettings | None = None,
    furnish: Callable[[FastAPI, Spine], None] | None = None,
) -> Callable[[Spine], AbstractAsyncContextManager[Sequence[Worker]]]:
    """Opens the gateway over a spine: doors, outbox, view and timer, as workers.

    `furnish` adds doors that are none of ingest's.
    """

    @asynccontextmanager
    async def opened(spine: Spine) -> AsyncIterator[Sequence[Worker]]:
        settings, database = spine.settings, spine.database
        refusals = Refusals(database, spine.keys, settings.site, ingest.refused_per_minute)
        async with open_doorbell(settings, database) as doorbell:
            app = build(spine, ingest, doorbell, wechat=wechat, refusals=refusals)
            if furnish is not None:
                furnish(app, spine)
            await until_available(lambda: _greet(spine, ingest), "database", spine.health)
            yield [
                Doors(app, ingest),
                refusals,
                Outbox(database, spine.log, spine.health, name=settings.outbox),
                runner_of(_view(spine, ingest, doorbell, wechat), spine, VIEW_LIMITS),
                _timer(spine),
            ]

    return opened


def _view(
    spine: Spine, ingest: IngestSettings, doorbell: Doorbell, wechat: WeChatSettings | None
) -> View:
    return View(
        spine.database,
        doorbell,
        decides=not spine.settings.edge,
        held_for=timedelta(days=ingest.held_days),
        messages=wechat is not None and wechat.messages,
    )


def _timer(spine: Spine) -> Timer:
    sweeper = Sweeper(spine.database, spine.store, spine.log, spine.settings.retention)
    return Timer(
        spine.database,
        spine.keys,
        {**HANDLERS, SWEEP: sweeper, REVOKE: Revoker(spine.store)},
        spine.health,
        regularly={SWEEP: EVERY},
    )


async def _greet(spine: Spine, ingest: IngestSettings) -> None:
    """Where a token is needed, make the first operator and print once how they sign in.

    To standard error, and not to the log: what is logged is kept.
    """
    if ingest.anonymous:
        return

    async def first(tx: Transaction) -> str | None:
        return await links.first(tx, await spine.keys.person_of_name(tx, links.OPERATOR))

    if (code := await spine.database.run(first)) is not None:
        base = spine.settings.public_url or ingest.url
        sys.stderr.write(
            "Callers need a token here. Sign in as the operator, once and within the hour:\n"
            f"    {links.spelled(base, code)}\n"
        )
        sys.stderr.flush()


async def _main() -> None:
    opened = open_gateway(IngestSettings(), WeChatSettings())
    async with open_spine(Settings()) as spine, opened(spine) as workers:
        await run_workers([*workers, *operator_doors(spine)])


if __name__ == "__main__":
    run_main(_main)
