"""A process that counts: `python -m tests.analytics.counting_process DATA`, until it is killed."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from analytics.definitions import TOPICS
from analytics.follower import Follower
from analytics.shelf import FILE, open_shelf
from relay.log.sqlite import SqliteLog
from relay.telemetry import Health


async def main(data: Path) -> None:
    log = SqliteLog(data / "log.db")
    with open_shelf(data / FILE) as shelf:
        await Follower(log, TOPICS, shelf, shelf.take, Health()).run()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
