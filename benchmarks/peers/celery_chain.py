"""Celery's chain between its ends: a worker with a process per core, our feed, our reader.

Knows kombu's queues and that both it and Celery block: what calls them does so in threads.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.peers.tasks import CONFIRMED, DELIVERED, Payload, app, whole_chain
from infra.servers.process import Server
from infra.stages import ROOT
from relay.log.port import Message


class Worker(Server):
    """`celery worker` with as many processes as there are cores, its default."""

    name = "celery"

    def __init__(self, folder: Path, url: str, *, confirmed: bool) -> None:
        super().__init__(folder, None)
        self._url, self._confirmed = url, confirmed

    def command(self) -> Sequence[str]:
        words = "-A benchmarks.peers.tasks worker -O fair -l WARNING"
        return [sys.executable, "-m", "celery", *words.split()]

    def environment(self) -> Mapping[str, str]:
        return {
            "PYTHONPATH": str(ROOT),
            "CELERY_BROKER_URL": self._url,
            CONFIRMED: "yes" if self._confirmed else "no",
        }

    def answers(self) -> bool:
        return bool(app.control.ping(timeout=0.5))


class CeleryChain:
    """The ends of the chain, at the broker that `app` is set to."""

    async def append(self, messages: Sequence[Message]) -> None:
        await asyncio.to_thread(self._send, messages)

    async def delivered(self) -> AsyncIterator[str]:
        keys: asyncio.Queue[str] = asyncio.Queue()
        stop, loop = threading.Event(), asyncio.get_running_loop()
        reading = loop.run_in_executor(None, self._read, keys, loop, stop)
        try:
            while True:
                yield await keys.get()
        finally:
            stop.set()
            await reading

    def _send(self, messages: Sequence[Message]) -> None:
        for message in messages:
            whole_chain(payload_of(message)).apply_async()

    def _read(
        self, keys: asyncio.Queue[str], loop: asyncio.AbstractEventLoop, stop: threading.Event
    ) -> None:
        def take(body: Any, message: Any) -> None:
            loop.call_soon_threadsafe(keys.put_nowait, body[0][0]["key"])
            message.ack()

        end = app.amqp.queues[DELIVERED]
        with app.connection_for_read() as line, line.Consumer(end, callbacks=[take]):
            while not stop.is_set():
                try:
                    line.drain_events(timeout=0.2)
                except TimeoutError:
                    continue


def payload_of(message: Message) -> Payload:
    """A message as JSON can hold it."""
    headers = {name: value.decode() for name, value in message.headers}
    return {"key": message.key, "value": message.value.decode(), "headers": headers}


@contextmanager
def celery_worker(folder: Path, url: str, *, confirmed: bool) -> Iterator[Worker]:
    """A worker that is ready; `app` in this process sends to the same broker."""
    app.conf.update(broker_url=url, broker_transport_options={"confirm_publish": confirmed})
    with Worker(folder, url, confirmed=confirmed) as worker:
        yield worker
