"""A process that counts, a few records a transaction, until it is killed: settings from outside."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from analytics import follower
from analytics.shelf import tables
from analytics.shelf.open import open_shelf
from relay.log.open import open_log
from relay.settings import Settings
from relay.sql.open import connect
from relay.telemetry import Health


async def main() -> None:
    follower.BATCH, follower.RENEW, tables.LIFE = 20, 0.5, timedelta(seconds=2)
    settings = Settings()
    async with open_shelf(settings, connect(settings)) as shelf:
        await follower.Follower(open_log(settings), shelf, Health()).run()


if __name__ == "__main__":
    asyncio.run(main())
