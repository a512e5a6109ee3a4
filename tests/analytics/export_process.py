"""A process that exports and says each file before it is in its place: `DATA OUT`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

from analytics import export as exporting
from relay.log.sqlite import SqliteLog

_replace = exporting._replace


def slowly(target: Path, write: Callable[[Path], object]) -> None:
    """The same, saying so first."""
    print(target.name, flush=True)
    _replace(target, write)


async def main(data: Path, out: Path) -> None:
    exporting._replace = slowly
    exporting.BATCH = 90
    log = SqliteLog(data / "log.db")
    await exporting.export(log, out)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
