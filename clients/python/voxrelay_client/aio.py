"""The client that awaits: `voxrelay_client.blocking.Client`, method by method."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from functools import partial
from types import TracebackType
from typing import Any, Self, Unpack
from uuid import UUID

import httpx
from httpx_retries import RetryTransport
from httpx_sse import aconnect_sse

from voxrelay_client import wire
from voxrelay_client.errors import Unreachable
from voxrelay_client.models import (
    ENDED,
    Event,
    Job,
    Page,
    Share,
    Speech,
    Voice,
    event_of,
    job_of,
    page_of,
    share_of,
    voice_of,
)


class AsyncClient:
    """One gateway, as one caller; close it, or use `async with`.

    `patience` is for how many seconds in all a request or a stream that gets no answer is tried
    again; with 0 nothing is. Every method raises `Refused` and `Unreachable`.
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
        recording: wire.Sound | None = None,
        *,
        key: str | None = None,
        **manner: Unpack[wire.Manner],
    ) -> Job:
        """Send a job: once this returns, it is safe. The same `key` is the same job for 24 h.

        Of several variants the first job, which has them all.
        """
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
                job = await self.job(job_id)
                if job.ended and job.seq <= (seen or 0):  # all of it was seen before
                    return
            except httpx.TransportError as why:
                if time.monotonic() - silent_since >= wire.silence(self._patience):
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
        recording: wire.Sound | None = None,
        *,
        key: str | None = None,
        **manner: Unpack[wire.Manner],
    ) -> Speech:
        """Send, wait and fetch; raises `NotSpoken` where the job ends without speech."""
        job = await self.wait((await self.send(text, recording, key=key, **manner)).job_id)
        return Speech(job, await self.audio(job))

    async def catalogue(self) -> dict[str, Any]:
        """Styles, dialects, formats and limits that may be offered, as JSON."""
        found: dict[str, Any] = await self._ask("GET", "/v1/catalogue")
        return found

    async def upload(self, recording: wire.Sound, resume: str | UUID | None = None) -> str:
        """Send a recording in parts, or go on with one; its id, which jobs take as `upload`."""
        data = await asyncio.to_thread(wire.sound_of, recording)
        id_ = await self._begin(len(data)) if resume is None else str(resume)
        path = wire.path_in(wire.UPLOADS, id_)
        with wire.resumable(id_):
            offset = 0 if resume is None else wire.gone_on(await self._http.head(path))
            while offset < len(data):
                sent = await self._http.patch(path, **wire.piece(offset, data))
                offset = wire.gone_on(sent)
        return id_

    async def voices(self) -> tuple[Voice, ...]:
        """Your saved voices, and those shared with you."""
        found = await self._ask("GET", wire.VOICES)
        return tuple(voice_of(each) for each in found["voices"])

    async def save_voice(
        self,
        name: str,
        recording: wire.Sound | None,
        statement: str,
        *,
        of: str = "self",
        language: str | None = None,
        upload: str | None = None,
        key: str | None = None,
    ) -> Voice:
        """Save a voice with what its speaker agreed to; jobs take its id as `voice`."""
        consent = {"statement": statement, "of": of}
        body = await asyncio.to_thread(
            partial(wire.saved, name, recording, key, consent, language=language, upload=upload)
        )
        return voice_of(await self._ask("POST", wire.VOICES, **body))

    async def rename_voice(self, voice: str | UUID, name: str) -> Voice:
        """Call it something else."""
        path = wire.path_in(wire.VOICES, voice)
        return voice_of(await self._ask("PATCH", path, json={"name": name}))

    async def revoke_voice(self, voice: str | UUID) -> None:
        """No new job takes it, and those not yet spoken fail with `voice_revoked`."""
        await self._ask("DELETE", wire.path_in(wire.VOICES, voice))

    async def share_voice(
        self,
        voice: str | UUID,
        *,
        person: str | None = None,
        scopes: Sequence[str] = ("speak",),
        days: int | None = None,
    ) -> Share:
        """Let a person use it, or whoever is handed the code that comes back."""
        said = {"person": person, "scopes": list(scopes), "days": days}
        path = wire.path_in(wire.VOICES, voice, "shares")
        return share_of(await self._ask("POST", path, json=said))

    async def unshare_voice(self, voice: str | UUID, share: str | UUID) -> None:
        """Let them use it no more."""
        await self._ask("DELETE", wire.path_in(wire.VOICES, voice, "shares", str(UUID(str(share)))))

    async def accept_voice(self, code: str) -> Voice:
        """Take up a voice whose code somebody handed on."""
        return voice_of(await self._ask("POST", f"{wire.VOICES}/accept", json={"code": code}))

    async def _begin(self, length: int) -> str:
        with wire.translated():
            head = {"Upload-Length": str(length)}
            return wire.upload_of(await self._http.post(wire.UPLOADS, headers=head))

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
