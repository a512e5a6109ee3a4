"""One process of the relay: what it runs, how it stops, what it tells an operator.

Knows signals, exits and what runs beside a stage. Refuses to know which stages there are.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Protocol

from pydantic import ValidationError

from relay.brake import Brake
from relay.errors import Misconfigured
from relay.http import HttpWorker, Watch, probes
from relay.letters import DeadLetterLimit
from relay.runner import Limits, Runner, StageBroken
from relay.settings import Settings
from relay.spine import Spine, open_spine
from relay.stage import Stage

log = logging.getLogger(__name__)

EXIT_MISCONFIGURED = 78
"""EX_CONFIG of sysexits.h: starting again will not help."""
EXIT_UNAVAILABLE = 69
"""EX_UNAVAILABLE: a part of our world is down, and whoever asked is told instead of waiting."""
EXIT_BROKEN = 70
"""EX_SOFTWARE: a supervisor starts us again."""

Build = Callable[[Spine], AbstractAsyncContextManager[Stage]]
"""Opens what a stage needs (model, threads), yields the stage, and closes it again.

Every stage's `__main__.py` has one, `open_stage(settings) -> Build`, and calls `run_stage` with it;
the `voxrelay` command composes the same ones in one process.
"""


class Worker(Protocol):
    """Something that runs until it is told to stop."""

    async def run(self) -> None: ...
    def stop(self) -> None: ...


def runner_of(stage: Stage, spine: Spine, limits: Limits) -> Runner:
    """The loop of `stage` over a spine."""
    settings = spine.settings
    return Runner(
        stage,
        spine.log,
        spine.keys,
        replace(limits, waiting=settings.waiting, waiting_bytes=settings.waiting_bytes),
        spine.health,
        DeadLetterLimit(settings.dead_letter_run, settings.dead_letter_ratio),
        Brake(spine.database, stage.name),
    )


async def run_workers(workers: Sequence[Worker]) -> None:
    """Run all until SIGTERM or SIGINT, or until one ends or breaks; then stop and await the rest.

    Raises what broke the first one.
    """
    loop = asyncio.get_running_loop()

    def stop() -> None:
        for worker in workers:
            worker.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    tasks = [asyncio.create_task(worker.run()) for worker in workers]
    done, rest = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    stop()
    if rest:
        await asyncio.wait(rest)
    for task in (*done, *rest):
        task.result()


def run_stage(build: Build, limits: Limits) -> None:
    """Run one stage as this process, from the environment to its exit code."""

    async def work() -> None:
        settings = Settings()
        async with open_spine(settings) as spine, build(spine) as stage:
            await run_workers([runner_of(stage, spine, limits), *operator_doors(spine)])

    run_main(work)


def operator_doors(spine: Spine) -> list[Worker]:
    """What every process runs beside its stage: a watch on the log, and the probes' port."""
    workers: list[Worker] = [Watch("log", spine.log.check, spine.health)]
    if (port := spine.settings.metrics_port) is not None:
        workers.append(HttpWorker(probes(spine.health), "0.0.0.0", port))
    return workers


def run_main(main: Callable[[], Awaitable[None]]) -> None:
    """Run `main` to the end and exit with a code and a line that say what to do."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    calm_clients()

    async def run() -> None:
        await main()

    try:
        asyncio.run(run())
    except (Misconfigured, ValidationError) as wrong:
        print(f"voxrelay cannot start: {settings_error(wrong)}", file=sys.stderr)  # noqa: T201
        sys.exit(EXIT_MISCONFIGURED)
    except StageBroken as broken:
        log.error("stopping: %s", broken)
        sys.exit(EXIT_BROKEN)


def calm_clients() -> None:
    """Let a lost broker be said once, by us: what aiokafka fails at is raised to us.

    By itself it tells of every coordinator, and says tens of times a second that a broker is away.
    And urllib3 warns of each try by the object's path, in which a person stands.
    """
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    logging.getLogger("urllib3").setLevel(logging.ERROR)


def settings_error(wrong: Misconfigured | ValidationError) -> str:
    """What is wrong with the settings, each by its variable's name."""
    if isinstance(wrong, Misconfigured):
        return str(wrong)
    prefix = "VOXRELAY_" + wrong.title.removesuffix("Settings").upper()
    lines = []
    for error in wrong.errors(include_input=False, include_url=False):
        name = "_".join([prefix.rstrip("_"), *(str(part).upper() for part in error["loc"])])
        lines.append(f"{name}: {error['msg']}" if error["loc"] else error["msg"])
    return "; ".join(lines)
