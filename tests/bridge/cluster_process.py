"""All stages of a cluster in one process, their models stand-ins."""

from __future__ import annotations

from contextlib import AsyncExitStack

from relay.process import operator_doors, run_main, run_workers, runner_of
from relay.settings import Settings
from relay.spine import open_spine
from tests.faults.stage import LIMITS, moderation, synth
from voxrelay.stages import open_workers


async def main() -> None:
    """Run until told to stop."""
    async with open_spine(Settings()) as spine, AsyncExitStack() as stack:
        workers = await stack.enter_async_context(open_workers(["ingest", "delivery"], spine))
        for build in (moderation(), synth()):
            stage = await stack.enter_async_context(build(spine))
            workers.append(runner_of(stage, spine, LIMITS))
        await run_workers([*workers, *operator_doors(spine)])


if __name__ == "__main__":
    run_main(main)
