"""Recordings from strangers: judged by content, in processes that can be killed.

Knows a small pool of warm probes, their limits and how a hung or dead one is replaced. Refuses to
decode anything in this process, and to know file names: what a file is, its bytes say.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Coroutine
from dataclasses import asdict, dataclass
from functools import partial
from hashlib import sha256
from typing import Any

from ingest.examine import Bounds, Raw
from ingest.probe import FRAME, write_frame
from ingest.problems import Problem
from relay.errors import Unavailable
from relay.retry import until_available
from relay.telemetry import Health

__all__ = ["Bounds", "Heard", "Limits", "Probes", "Raw"]

_WARM_UP = 60.0
"""Seconds that an interpreter may take to start on a busy machine; no recording waits in them."""
_MOST_WAITING = 64
"""Recordings that may wait in memory for each process."""
_USES = 256
"""A probe that has read this many strangers' files is let go, whatever it seems to be like."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one probe may use for a recording: bytes beyond its start, seconds of computing.

    Who sent it waits no longer than `turn` and `clock` together, however busy the machine is.
    """

    memory: int
    seconds: float
    processes: int

    @property
    def clock(self) -> float:
        """Seconds that may pass while it is read: being kept waiting is no fault of the file's."""
        return self.seconds * 2

    @property
    def turn(self) -> float:
        """Seconds for which it may wait for a free probe."""
        return self.seconds

    @property
    def hung(self) -> float:
        """Seconds after which a probe that does not answer is taken for hung."""
        return self.seconds * 10


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
                str(limits.seconds),
                str(limits.hung + 1),
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
    def overspent(self) -> bool:
        """Whether it was ended for computing longer than a recording may cost."""
        return self._process.returncode == -signal.SIGPROF

    @property
    def pid(self) -> int:
        return self._process.pid

    async def ask(self, head: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
        assert self._process.stdin is not None
        self.uses += 1
        try:
            self._process.stdin.write(write_frame(head, data))
            await self._process.stdin.drain()
            return await self._receive()
        except ConnectionError:
            await self.kill()
            raise _Died from None
        except BaseException:
            await asyncio.shield(self.kill())  # half an answer may lie in its pipe
            raise

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

    def __init__(self, limits: Limits, bounds: Bounds, health: Health | None = None) -> None:
        self._limits = limits
        self._bounds = bounds
        self._health = health or Health()
        self._free: asyncio.Queue[_Probe] = asyncio.Queue()
        self._pending: set[asyncio.Task[None]] = set()
        self._waiting = 0
        self._closed = False

    async def start(self) -> None:
        """Warm every process, so that the first upload does not wait for an interpreter.

        After `Unavailable` it may be called again; what has started stays.
        """
        missing = range(self._limits.processes - self._free.qsize())
        started = await asyncio.gather(
            *(_Probe.start(self._limits) for _ in missing), return_exceptions=True
        )
        for each in started:
            if isinstance(each, _Probe):
                self._free.put_nowait(each)
        for each in started:
            if isinstance(each, BaseException):
                raise each

    async def examine(self, data: bytes, raw: Raw | None = None) -> Heard:
        """The recording in `data`, as mono FLAC at its own rate.

        `Problem` with a code `recording_*` where it is not taken; `Unavailable` where no probe can
        be had, or the machine is too busy to let it work. `raw` declares headerless samples;
        nothing else is ever taken for such.
        """
        if not data:
            raise Problem("recording_empty")
        head = {"bounds": asdict(self._bounds), "raw": asdict(raw) if raw else None}
        if self._waiting >= _MOST_WAITING * self._limits.processes:
            raise Unavailable("too many recordings wait to be read")
        self._waiting += 1
        try:
            answer, flac = await self._answer(head, data)
        finally:
            self._waiting -= 1
        if "code" in answer:
            raise Problem(answer["code"], **answer["facts"])
        return Heard(flac=flac, sha256=sha256(flac).hexdigest(), **answer["facts"])

    async def _answer(self, head: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
        """Ask, and once more of another process: the first may have died of something else."""
        for _ in range(2):
            probe = await self._turn()
            asking = asyncio.create_task(probe.ask(head, data))
            try:
                async with asyncio.timeout(self._limits.clock):
                    return await asyncio.shield(asking)
            except TimeoutError:
                raise Unavailable("no time to read a recording") from None
            except _Died:
                if probe.overspent:
                    break
            finally:
                self._later(self._back(probe, asking))
        raise Problem("recording_too_complex")

    async def _turn(self) -> _Probe:
        try:
            async with asyncio.timeout(self._limits.turn):
                while not (probe := await self._free.get()).alive:
                    self._later(self._renew(probe))
        except TimeoutError:
            raise Unavailable("too many recordings wait to be read") from None
        return probe

    async def _back(self, probe: _Probe, asking: asyncio.Task[Any]) -> None:
        """Back to the pool after a whole answer, or a new one in its place.

        Who no longer waits for the answer does not end the probe: to start another costs more than
        to let it finish, and a busy machine has that least of all.
        """
        try:
            async with asyncio.timeout(self._limits.hung):
                await asking
        except (TimeoutError, _Died):
            await self._renew(probe)
            return
        if self._closed or probe.uses >= _USES:
            await self._renew(probe)
        else:
            self._free.put_nowait(probe)

    async def _renew(self, old: _Probe) -> None:
        await old.kill()
        if not self._closed:
            start = partial(_Probe.start, self._limits)
            self._free.put_nowait(await until_available(start, "probes", self._health))

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        """What no recording has to wait for."""
        task = asyncio.create_task(work)
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)

    async def close(self) -> None:
        """End every process, at work or not."""
        self._closed = True
        while self._pending:
            for task in self._pending:
                task.cancel()
            await asyncio.wait(self._pending)
        while not self._free.empty():
            await self._free.get_nowait().kill()
