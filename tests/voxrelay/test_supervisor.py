"""The small parent: children live, end, and never outlive it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from relay.process import EXIT_MISCONFIGURED
from voxrelay.supervisor import Supervisor

ROOT = Path(__file__).parents[2]
REPORT = """
import os, socket, sys, time
line = socket.socket(socket.AF_UNIX)
line.connect(sys.argv[1])
line.sendall(f"{os.getpid()}\\n".encode())
"""
LIVE = REPORT + "time.sleep(600)"
LEASHED = REPORT + "from voxrelay.supervisor import hold_leash\nhold_leash()\ntime.sleep(600)"
PARENT = """
import asyncio, sys
from voxrelay.supervisor import Supervisor
asyncio.run(Supervisor([sys.argv[1:]]).run())
"""


class Reports:
    """Pids of children as they report, and the end of each."""

    def __init__(self) -> None:
        self.born: asyncio.Queue[int] = asyncio.Queue()
        self.gone: asyncio.Queue[int] = asyncio.Queue()

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pid = int(await reader.readline())
        self.born.put_nowait(pid)
        await reader.read()
        self.gone.put_nowait(pid)
        writer.close()


@pytest.fixture
async def reports(tmp_path: Path) -> AsyncIterator[Reports]:
    found = Reports()
    async with await asyncio.start_unix_server(found.take, tmp_path / "s"):
        yield found


async def soon(queue: asyncio.Queue[int]) -> int:
    return await asyncio.wait_for(queue.get(), 20)


def child(code: str, tmp_path: Path) -> list[str]:
    return [sys.executable, "-c", code, str(tmp_path / "s")]


async def test_a_child_that_ends_is_started_again(reports: Reports, tmp_path: Path) -> None:
    supervisor = Supervisor([child(LIVE, tmp_path)])
    running = asyncio.create_task(supervisor.run())
    first = await soon(reports.born)
    os.kill(first, signal.SIGKILL)
    second = await soon(reports.born)
    assert second != first
    supervisor.stop()
    assert await asyncio.wait_for(running, 20) == 0
    assert [await soon(reports.gone), await soon(reports.gone)] == [first, second]


async def test_all_children_stop_when_starting_again_will_not_help(
    reports: Reports, tmp_path: Path
) -> None:
    wrong = [sys.executable, "-c", f"raise SystemExit({EXIT_MISCONFIGURED})"]
    supervisor = Supervisor([child(LIVE, tmp_path), wrong])
    assert await asyncio.wait_for(supervisor.run(), 30) == EXIT_MISCONFIGURED


async def test_a_child_ends_when_its_parent_is_killed(reports: Reports, tmp_path: Path) -> None:
    command = [sys.executable, "-c", PARENT, *child(LEASHED, tmp_path)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    parent = await asyncio.create_subprocess_exec(*command, env=env)
    try:
        born = await soon(reports.born)
    finally:
        parent.kill()
        await parent.wait()
    assert await soon(reports.gone) == born
