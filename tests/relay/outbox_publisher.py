"""A gateway's outbox as a process of its own, for tests that kill it."""

import asyncio
import json
import sys
from datetime import timedelta

from relay.log.open import open_log
from relay.outbox import Outbox
from relay.settings import Settings
from relay.sql.open import open_database


async def main(settings: Settings, name: str) -> None:
    """Publish until killed."""
    database, log = await open_database(settings), open_log(settings)
    print("publishing", flush=True)
    await Outbox(database, log, name=name, life=timedelta(seconds=1)).run()


if __name__ == "__main__":
    asyncio.run(main(Settings.model_validate(json.loads(sys.argv[1])), sys.argv[2]))
