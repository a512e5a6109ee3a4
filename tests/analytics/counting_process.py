"""A process that counts, a few records a transaction, until it is killed: settings from outside."""

from __future__ import annotations

import asyncio

from analytics import follower
from analytics.shelf import FILE, open_shelf
from relay.log.open import open_log
from relay.settings import Settings
from relay.telemetry import Health


async def main() -> None:
    follower.BATCH = 20
    settings = Settings()
    with open_shelf(settings.data / FILE) as shelf:
        await follower.Follower(open_log(settings), shelf, Health()).run()


if __name__ == "__main__":
    asyncio.run(main())
