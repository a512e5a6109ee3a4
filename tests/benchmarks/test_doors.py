"""The doors are measured: a job is accepted, delivered and read, and each took some time."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import AsyncIterator

import httpx
import pytest

from benchmarks.doors import __main__ as doors

_WAITS = ("accepted", "delivered", "read")


@pytest.mark.timeout(300)
def test_jobs_at_rest_are_accepted_delivered_and_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doors, "_WARM", 0)
    monkeypatch.setattr(doors, "_REST", 0.0)
    said = doors.measure(Namespace(log="sqlite", jobs=2, folder=None))
    assert all(0 < said[wait]["p50_ms"] <= said[wait]["p90_ms"] for wait in _WAITS), said


class Stream(httpx.AsyncByteStream):
    """A job's events, and then nothing; remembers whether anybody came to the end."""

    ended = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b'data: {"state": "accepted"}\n\n'
        yield b'data: {"state": "delivered"}\n\n'
        self.ended = True


async def test_a_stream_is_read_to_its_end_so_that_its_connection_is_kept() -> None:
    """Else the job would be read on a new one, and the wait would be another's."""
    stream = Stream()
    transport = httpx.MockTransport(lambda request: httpx.Response(200, stream=stream))
    async with httpx.AsyncClient(transport=transport, base_url="http://relay") as client:
        assert await doors._delivered(client, "job", lambda: 7.0) == 7.0
    assert stream.ended
