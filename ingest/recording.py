"""Recordings from strangers: judged by content, in processes that can be killed.

Knows a small pool of warm probes, their limits and how a hung or dead one is replaced. Refuses to
decode anything in this process, and to know file names: what a file is, its bytes say.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any

from ingest.examine import Bounds, Raw
from ingest.probe import FRAME, write_frame
from ingest.problems import Problem
from relay.errors import Unavailable

__all__ = ["Bounds", "Heard", "Limits", "Probes", "Raw"]

_WARM_UP = 60.0
"""Seconds that an interpreter may take to start on a busy machine; no recording waits in them."""
_MOST_WAITING = 64
"""Recordings that may wait in memory for each process."""
_USES = 256
"""A probe that has read this many strangers' files is let go, whatever it seems to be like."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one probe may use: bytes beyond its start, seconds of wall clock for a recording."""

    memory: int
    seconds: float
    processes: int


@dataclass(frozen=True, slots=True)
class Heard:
    """A recording that was taken: mono FLAC, and what the uploaded file was."""

    flac: bytes
    sha256: str
    seconds: float
    sample_rate: int
    container: str
    codec: str
    aigc: str | None


class _Died(Exception):
    """The process ended before it answered."""


class _Probe:
    """One process and its two pipes."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.uses = 0

    @classmethod
    async def start(cls, limits: Limits) -> _Probe:
        # Its environment is told, not inherited: a decoder has no business with our secrets.
        place = {
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "PATH": os.defpath,
            "OPENBLAS_NUM_THREADS": "1",  # else numpy reserves memory for every core
        }
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "ingest.probe",
                str(limits.memory),
                str(limits.seconds + 1),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env=place,
                start_new_session=True,
            )
        except OSError as wrong:
            raise Unavailable(f"no probe can be started: {wrong.strerror}") from None
        probe = cls(process)
        try:
            async with asyncio.timeout(_WARM_UP):
                await probe._receive()
        except (TimeoutError, _Died):
            await probe.kill()
            raise Unavailable("no probe can be started: it does not answer") from None
        except BaseException:
            await asyncio.shield(probe.kill())
            raise
        return probe

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    @property
    def pid(self) -> int:
        return self._process.pid

    async def ask(self, head: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
        assert self._process.stdin is not None
        self.uses += 1
        try:
            self._process.stdin.write(write_frame(head, data))
            await self._process.stdin.drain()
        except ConnectionError:
            raise _Died from None
        return await self._receive()

    async def _receive(self) -> tuple[dict[str, Any], bytes]:
        pipe = self._process.stdout
        assert pipe is not None
        try:
            first, second = FRAME.unpack(await pipe.readexactly(FRAME.size))
            answer: dict[str, Any] = json.loads(await pipe.readexactly(first))
            return answer, await pipe.readexactly(second)
        except (ConnectionError, asyncio.IncompleteReadError):
            raise _Died from None

    async def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        if self._process.stdin:
            self._process.stdin.close()
        await self._process.wait()


class Probes:
    """The pool. `examine` as many at once as there are processes; the rest wait their turn."""

    def __init__(self, limits: Limits, bounds: Bounds) -> None:
        self._limits = limits
        self._bounds = bounds
        self._turns = asyncio.Semaphore(limits.processes)
        self._idle: list[_Probe] = []
        self._waiting = 0
        self._closed = False

    async def start(self) -> None:
        """Warm every process, so that the first upload does not wait for an interpreter.

        After `Unavailable` it may be called again; what has started stays.
        """
        missing = range(self._limits.processes - len(self._idle))
        started = await asyncio.gather(
            *(_Probe.start(self._limits) for _ in missing), return_exceptions=True
        )
        self._idle += [each for each in started if isinstance(each, _Probe)]
        for each in started:
            if isinstance(each, BaseException):
                raise each

    async def examine(self, data: bytes, raw: Raw | None = None) -> Heard:
        """The recording in `data`, as mono FLAC at its own rate.

        `Problem` with a code `recording_*` where it is not taken; `Unavailable` where no probe can
        be had. `raw` declares headerless samples; nothing else is ever taken for such.
        """
        if not data:
            raise Problem("recording_empty")
        head = {"bounds": asdict(self._bounds), "raw": asdict(raw) if raw else None}
        if self._waiting >= _MOST_WAITING * self._limits.processes:
            raise Unavailable("too many recordings wait to be read")
        self._waiting += 1
        try:
            async with self._turns:
                answer, flac = await self._answer(head, data)
        finally:
            self._waiting -= 1
        if "code" in answer:
            raise Problem(answer["code"], **answer["facts"])
        return Heard(flac=flac, sha256=sha256(flac).hexdigest(), **answer["facts"])

    async def _answer(self, head: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
        """Ask, and once more of a new process: the first may have died of something else."""
        for _ in range(2):
            try:
                async with self._one() as probe:
                    async with asyncio.timeout(self._limits.seconds):
                        return await probe.ask(head, data)
            except _Died:
                continue
            except TimeoutError:
                break
        raise Problem("recording_too_complex")

    @contextlib.asynccontextmanager
    async def _one(self) -> AsyncIterator[_Probe]:
        """A live probe; it goes back to the pool only after a whole answer."""
        while self._idle and not self._idle[-1].alive:
            await self._idle.pop().kill()
        probe = self._idle.pop() if self._idle else await _Probe.start(self._limits)
        try:
            yield probe
        except BaseException:
            await asyncio.shield(probe.kill())
            raise
        if self._closed or probe.uses >= _USES:
            await probe.kill()
        else:
            self._idle.append(probe)

    async def close(self) -> None:
        """End every idle process; one at work ends with its answer."""
        self._closed = True
        while self._idle:
            await self._idle.pop().kill()
