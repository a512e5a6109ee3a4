"""A small parent: runs children, starts again whatever exits, stops them all together.

Knows processes and exit codes. Refuses to know what a child does. A child's standard input is its
leash: it ends when the parent is gone, however the parent went.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress

from relay.process import EXIT_MISCONFIGURED

log = logging.getLogger(__name__)

HEALTHY_SECONDS = 30.0
"""A child that lived this long starts its backoff anew."""
STOP_SECONDS = 40.0
"""How long children may drain before they are killed."""


class Supervisor:
    """Keeps one child per command alive until `stop`."""

    def __init__(self, commands: Sequence[Sequence[str]]) -> None:
        self._commands = commands
        self._children: set[asyncio.subprocess.Process] = set()
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Let children drain, then end."""
        self._stopping.set()

    async def run(self) -> int:
        """Supervise until `stop`, or until a child says that starting again will not help.

        Returns the exit code for the parent.
        """
        keepers = [asyncio.create_task(self._keep(command)) for command in self._commands]
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait([*keepers, stopping], return_when=asyncio.FIRST_COMPLETED)
        self._stopping.set()
        codes = await asyncio.gather(*keepers)
        await stopping
        return max(codes, default=0)

    async def _keep(self, command: Sequence[str]) -> int:
        tries = 0
        while not self._stopping.is_set():
            lived, code = await self._one_life(command)
            if self._stopping.is_set():
                return 0
            if code == EXIT_MISCONFIGURED:
                return code
            tries = 1 if lived > HEALTHY_SECONDS else tries + 1
            wait = min(0.2 * 2 ** (tries - 1), 10.0)
            log.warning("a child exited with %d; starting it again in %.1f s", code, wait)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), wait)
        return 0

    async def _one_life(self, command: Sequence[str]) -> tuple[float, int]:
        loop = asyncio.get_running_loop()
        born = loop.time()
        child = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.PIPE, start_new_session=True
        )
        self._children.add(child)
        ending = asyncio.create_task(child.wait())
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait([ending, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not ending.done():
            await self._end(child, ending)
        self._children.discard(child)
        return loop.time() - born, await ending

    async def _end(self, child: asyncio.subprocess.Process, ending: asyncio.Task[int]) -> None:
        with suppress(ProcessLookupError):
            child.send_signal(signal.SIGTERM)
        done, _ = await asyncio.wait([ending], timeout=STOP_SECONDS)
        if not done:
            with suppress(ProcessLookupError):
                child.kill()


def stage_command(names: Sequence[str]) -> list[str]:
    """The command line of a child that runs the named stages."""
    return [sys.executable, "-m", "voxrelay", "run", "--leashed", *names]


def hold_leash() -> None:
    """In a child: ask this process to stop once its parent is gone."""

    def wait() -> None:
        # The descriptor itself: a thread that waits in `sys.stdin` holds its lock for ever.
        while os.read(0, 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True, name="leash").start()
