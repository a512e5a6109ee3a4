"""The engine that callers share: requests in, sound out, everything between them batched.

    engine = Engine.load("model")
    async for chunk in engine.speak(Request("你好。", Recording.read("me.wav"))):
        ...

One thread of its own steps the model; callers wait on their event loops. Knows threads and loops;
what a step does stands in ``core``.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch

from . import budget, checkpoint
from .checkpoint import Networks
from .core import Core
from .device import is_device_fault, is_out_of_memory
from .dims import SAMPLE_RATE
from .errors import Exhausted, Stopped
from .frontend import Frontend, Prepared
from .outlet import Item, Sink
from .request import Request
from .runner import Runner, Sound
from .scheduler import Scheduler
from .settings import Settings


class Engine:
    """A loaded model. Every method may be called from any thread, ``step`` from one at a time."""

    sample_rate = SAMPLE_RATE

    def __init__(self, frontend: Frontend, core: Core) -> None:
        self.frontend, self.core = frontend, core
        self._inbox: deque[Callable[[], None]] = deque()
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._count = 0
        self._end: BaseException | None = None

    @classmethod
    def load(cls, folder: str | Path, settings: Settings | None = None) -> Engine:
        """An engine on a model folder.

        BadModel if the folder is none, Exhausted if memory is too small for one utterance.
        """
        try:
            return cls._loaded(Path(folder), settings or Settings())
        except RuntimeError as err:
            if not is_out_of_memory(err):
                raise
            raise Exhausted("no memory for the weights and their cache") from err

    @classmethod
    def _loaded(cls, folder: Path, settings: Settings) -> Engine:
        device, precision = settings.torch_device(), checkpoint.Precision(settings.precision)
        networks = checkpoint.load(folder, precision, device, settings.length)
        frontend = Frontend(folder)
        frontend.tokenizer.check_rows(networks.lm.dims.vocab)
        return cls(frontend, assemble(networks, settings, device))

    async def speak(self, request: Request) -> AsyncIterator[Sound]:
        """Sound of a request, float32 at 24 kHz: chunk by chunk if it streams, else by pieces.

        Refused for a request out of bounds, Exhausted where even alone it finds no memory, BadModel
        where the sound is not finite, Stopped once the engine is closed or broken. Leaving the
        loop early cancels the request.
        """
        prepared = await asyncio.to_thread(self.frontend.prepare, request)
        loop, items = asyncio.get_running_loop(), asyncio.Queue[Item]()

        def sink(item: Item) -> None:
            with suppress(RuntimeError):  # the caller's loop is closed, and the caller gone
                loop.call_soon_threadsafe(items.put_nowait, item)

        number = self.submit(request, prepared, sink)
        self._start()
        try:
            while (item := await items.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            self.cancel(number)

    async def say(self, request: Request) -> Sound:
        """All the sound of a request at once; errors as of ``speak``."""
        return np.concatenate([chunk async for chunk in self.speak(request)])

    def submit(self, request: Request, prepared: Prepared, sink: Sink) -> int:
        """Queue a prepared request; returns the number to cancel it by.

        Refused if it could never be spoken, Stopped if nothing more will be. The sink is called
        from the engine's thread.
        """
        self.core.check(prepared)
        with self._wake:
            if self._end:
                raise Stopped("the engine has stopped") from self._end
            self._count += 1
            number = self._count
            self._inbox.append(lambda: self.core.begin(number, request, prepared, sink))
            self._wake.notify()
        return number

    def cancel(self, number: int) -> None:
        """Forget a request before the next step; one that is done already is no error."""
        with self._wake:
            if self._end is None:
                self._inbox.append(lambda: self.core.drop(number))
                self._wake.notify()

    def step(self) -> bool:
        """Take in what callers asked, then schedule, run, emit; False if nothing was to do."""
        while self._inbox:
            self._inbox.popleft()()
        return self.core.step()

    def close(self) -> None:
        """Stop for good and free the device; whoever still waits gets Stopped."""
        with self._wake:
            self._end = self._end or Stopped("the engine is closed")
            self._wake.notify()
        if self._thread:
            self._thread.join()
        self._fail_all(self._end)
        self.core.runner.close()

    @property
    def held(self) -> int:
        """Requests, pieces, slots and voices in use: 0 when nothing is left of anybody."""
        return self.core.held + len(self._inbox)

    @property
    def stopped(self) -> BaseException | None:
        """Why nothing more will be spoken, or None while all is well."""
        return self._end

    @property
    def broken(self) -> bool:
        """Whether it stopped by a bug, which one of its requests may bring about again."""
        end = self._end
        return end is not None and not isinstance(end, Stopped) and not is_device_fault(end)

    def _start(self) -> None:
        with self._wake:
            if self._thread is None and self._end is None:
                self._thread = threading.Thread(target=self._work, name="cosyvoice3", daemon=True)
                self._thread.start()

    def _work(self) -> None:
        """Step while there is work, sleep while there is none."""
        try:
            while self._end is None:
                if not self.step():
                    with self._wake:
                        self._wake.wait_for(lambda: self._inbox or self._end)
        except Exception as err:  # noqa: BLE001 - every caller is told, and it is kept
            with self._wake:
                self._end = err
            self._fail_all(err)

    def _fail_all(self, err: BaseException) -> None:
        while self._inbox:
            self._inbox.popleft()()
        for number in list(self.core.talks):
            stopped = Stopped("the engine has stopped")
            stopped.__cause__ = err
            self.core.fail(number, stopped)


def assemble(networks: Networks, settings: Settings, device: torch.device) -> Core:
    """The core of an engine on networks that are on their device; Exhausted as of ``load``."""
    limits = budget.plan(
        (networks.lm.dims, networks.flow.dims, networks.hift.dims),
        networks.lm.head.weight.dtype.itemsize,
        settings.length,
        settings.bytes_free(device),
        settings.slots_on(device),
    )
    scheduler = Scheduler(
        limits,
        burst=settings.burst_on(device),
        admit=settings.admit_on(device),
        most=settings.frames_on(device),
        fixed=settings.deterministic,
    )
    return Core(Runner(networks, limits, device), scheduler)
