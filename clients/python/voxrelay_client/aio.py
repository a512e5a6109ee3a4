"""The client that awaits: `voxrelay_client.blocking.Client`, method by method."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from types import TracebackType
from typing import Any, Self, Unpack
from uuid import UUID

import httpx
from httpx_retries import RetryTransport
from httpx_sse import aconnect_sse

from voxrelay_client import wire
from voxrelay_client.errors import Unreachable
from voxrelay_client.models import ENDED, Event, Job, Page, Speech, event_of, job_of, page_of


class AsyncClient:
    """One gateway, as one caller; close it, or use `async with`.

    `patience` is for how many seconds in all a request or a stream that gets no answer is tried
    again. Every method raises `Refused` and `Unreachable`.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        language: str = "en",
        patience: float = 30.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._patience = patience
        self._http = httpx.AsyncClient(
            base_url=url,
            headers=wire.headers(token, language),
            timeout=wire.timeout(),
            transport=RetryTransport(
                transport or httpx.AsyncHTTPTransport(), retry=wire.retry(patience)
            ),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def send(
        self,
        text: str,
        recording: wire.Sound,
        *,
        key: str | None = None,
        **manner: Unpack[wire.Manner],
    ) -> Job:
        """Send a job: once this returns, it is safe. The same `key` is the same job for 24 h."""
        body = await asyncio.to_thread(wire.posted, text, recording, key, manner)
        return job_of(await self._ask("POST", "/v1/jobs", **body))

    async def job(self, job_id: str | UUID) -> Job:
        """A job as it stands, with addresses of its sound that are good for some minutes."""
        return job_of(await self._ask("GET", wire.path_of(job_id)))

    async def jobs(self, limit: int = 20, cursor: str | None = None) -> Page:
        """Your jobs, newest first, a page at a time."""
        params = {"limit": limit} | ({"cursor": cursor} if cursor else {})
        return page_of(await self._ask("GET", "/v1/jobs", params=params))

    async def events(
        self, job_id: str | UUID, after: int | None = None
    ) -> AsyncGenerator[Event, None]:
        """The job's events beyond `after`, each once, until it has ended; a cut line is mended."""
        seen, silent_since = after, time.monotonic()
        while True:
            try:
                async with aclosing(self._stream(job_id, seen)) as stream:
                    async for event in stream:
                        seen, silent_since = event.seq, time.monotonic()
                        yield event
                        if event.state in ENDED:
                            return
                if (await self.job(job_id)).ended:  # all of it was seen before
                    return
            except httpx.TransportError as why:
                if time.monotonic() - silent_since > self._patience + wire.SILENCE_SECONDS:
                    raise Unreachable("the events broke off") from why

    async def wait(self, job_id: str | UUID) -> Job:
        """The job, once it has ended."""
        async with aclosing(self.events(job_id)) as events:
            async for event in events:
                if event.job is not None:
                    return event.job
        return await self.job(job_id)

    async def audio(self, job: Job | str | UUID) -> bytes:
        """The bytes of the delivered file; raises `NotSpoken` where the job has none."""
        found = job if isinstance(job, Job) else await self.job(job)
        with wire.translated():
            answer = await self._http.get(wire.delivered(found))
        if not answer.is_success:
            raise wire.refusal(answer)
        return wire.whole(found, answer.content)

    async def speak(
        self,
        text: str,
        recording: wire.Sound,
        *,
        key: str | None = None,
        **manner: Unpack[wire.Manner],
    ) -> Speech:
        """Send, wait and fetch; raises `NotSpoken` where the job ends without speech."""
        job = await self.wait((await self.send(text, recording, key=key, **manner)).job_id)
        return Speech(job, await self.audio(job))

    async def _ask(self, method: str, path: str, **more: Any) -> Any:
        with wire.translated():
            return wire.checked(await self._http.request(method, path, **more))

    async def _stream(self, job_id: str | UUID, seen: int | None) -> AsyncGenerator[Event, None]:
        path, quiet = wire.path_of(job_id, "events"), httpx.Timeout(5, read=wire.SILENCE_SECONDS)
        async with aconnect_sse(
            self._http, "GET", path, headers=wire.resumed(seen), timeout=quiet
        ) as source:
            if source.response.status_code == httpx.codes.NO_CONTENT:
                return
            if not source.response.is_success:
                await source.response.aread()
                raise wire.refusal(source.response)
            async for said in source.aiter_sse():
                if said.data and said.event == "state":  # not where it stands, nor when to retry
                    yield event_of(said.json())
