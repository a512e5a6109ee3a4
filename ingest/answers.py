"""Refusals as answers: RFC 9457 at every door, but `{error, task_id}` at `/tts`.

Knows how our errors, FastAPI's and Starlette's become documents, and the limit on bodies. Refuses
to know doors, but for the one that is exempt.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from prometheus_client import Counter
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ingest.problems import MEDIA_TYPE, TUS_VERSION, Problem, language_of
from ingest.refusals import TALLY, Tally
from relay.errors import Misconfigured, Unavailable

log = logging.getLogger(__name__)

TTS = "/tts"
UPLOADS = "/v1/uploads"
"""Where tus is spoken: each answer says so."""
REFUSED = Counter("voxrelay_refused", "Requests refused at a door", ["code"])
_BUSY_SECONDS = 3.0
_OF_PATH = {
    "thing": "not_found",
    "proof": "not_found",
    "job_id": "job_unknown",
    "key_id": "key_unknown",
    "hook_id": "webhook_unknown",
    "token": "page_unknown",
    "review_id": "review_unknown",
    "letter_id": "dead_unknown",
    "trail_id": "trail_unknown",
    "upload_id": "upload_unknown",
    "voice_id": "voice_unknown",
    "share_id": "share_unknown",
}
"""What is not there where a part of the path is not even spelled like an id."""
_OF_STATUS = {404: "not_found", 405: "method_not_allowed"}


def answer(connection: HTTPConnection, problem: Problem) -> Response:
    """The answer that `problem` is to whoever is at `connection`."""
    REFUSED.labels(problem.code).inc()
    _leave_trace(connection, problem)
    language = language_of(connection.headers.get("accept-language"))
    headers = {**problem.headers(), "content-language": language, "vary": "accept-language"}
    if connection.scope["path"].startswith(UPLOADS):
        headers["tus-resumable"] = TUS_VERSION
    if connection.scope["path"] == TTS:
        status = 400 if problem.status in (415, 422) else problem.status
        body: dict[str, Any] = {"error": problem.told(language), "task_id": None}
        return JSONResponse(body, status, headers)
    return JSONResponse(problem.document(language), problem.status, headers, MEDIA_TYPE)


def _leave_trace(connection: HTTPConnection, problem: Problem) -> None:
    app = connection.scope.get("app")
    gateway = getattr(app.state, "gateway", None) if app else None
    if gateway is not None:  # else it is still starting
        gateway.refusals.saw(connection, problem, gateway.callers.client(connection).address)


def install(app: FastAPI) -> None:
    """Make `app` answer every error as `answer` does."""
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Unavailable, _unavailable)
    app.add_exception_handler(Misconfigured, _misconfigured)
    app.add_exception_handler(ClientDisconnect, _incomplete)


async def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return answer(request, error)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    said = answer(request, Problem(_OF_STATUS.get(error.status_code, "request_invalid")))
    for name, value in (error.headers or {}).items():
        said.headers[name] = value
    return said


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    wrong = error.errors()
    places = {tuple(each["loc"]) for each in wrong}
    for name, code in _OF_PATH.items():
        if ("path", name) in places:
            return answer(request, Problem(code))
    named = [(".".join(map(str, each["loc"][1:])), str(each["msg"])) for each in wrong]
    errors = tuple({"where": where, "message": message} for where, message in named)
    fields = ", ".join(where for where, _ in named)
    return answer(request, Problem("fields_invalid", errors=errors, fields=fields))


async def _incomplete(request: Request, error: Exception) -> Response:
    return answer(request, Problem("body_incomplete"))  # to nobody, but it is counted


async def _unavailable(request: Request, error: Exception) -> Response:
    log.warning("a request met a part that is down: %s", error)
    return answer(request, Problem("unavailable", retry_after=_BUSY_SECONDS))


async def _misconfigured(request: Request, error: Exception) -> Response:
    """What a start would refuse may come later: a topic of a newer release that nobody has made."""
    log.error("a request met what is not set up: %s", error)
    return answer(request, Problem("not_set_up"))


class Bugs:
    """Answers for what nobody foresaw, and logs where it was: never a message, it may quote."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception as bug:  # noqa: BLE001 - the last handler there is
            log.error("%s at a door: %s", type(bug).__name__, _places(bug))
            if begun or scope["type"] != "http":
                raise Broken from None
            await answer(HTTPConnection(scope), Problem("internal_error"))(scope, receive, send)


class Broken(Exception):
    """Stands for a bug that was logged: the connection has to be cut."""


def _places(bug: Exception) -> str:
    frames = traceback.extract_tb(bug.__traceback__)[-6:]
    return " < ".join(f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in reversed(frames))


class BodyLimit:
    """Refuses a body over `limit` bytes: by what its head declares, else while it is read.

    And one that is not there whole after `seconds`.
    """

    def __init__(self, app: ASGIApp, limit: int, seconds: float) -> None:
        self._app = app
        self._limit = limit
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "")
        if declared.isdecimal() and int(declared) > self._limit:
            refusal = answer(HTTPConnection(scope), self._problem())
            await refusal(scope, receive, send)
            return
        scope[TALLY] = tally = Tally()
        await self._app(scope, self._counted(receive, tally), send)

    def _counted(self, receive: Receive, tally: Tally) -> Receive:
        length, over = 0, False
        until = asyncio.get_running_loop().time() + self._seconds

        async def counted() -> Message:
            nonlocal length, over
            try:
                async with asyncio.timeout_at(None if over else until):
                    message = await receive()
            except TimeoutError:
                raise Problem("body_too_slow") from None
            length += len(message.get("body", b""))
            over = not message.get("more_body", False)
            if message["type"] == "http.request":
                tally.add(message.get("body", b""), last=over)
            if length > self._limit:
                raise self._problem()
            return message

        return counted

    def _problem(self) -> Problem:
        return Problem("body_too_large", limit_mb=round(self._limit / 1e6, 1))
