"""Bodies of requests, read into what a person asks for.

Knows JSON and multipart forms. Refuses to judge what is asked for (`ingest.wish` does), and file
names.
"""

from __future__ import annotations

import json
import re
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

from ingest.problems import Problem
from ingest.wish import JobBody, JobJson, Limits, TtsJson, Wish, decoded, problem_of, wish_of
from schemas.envelope import TRACEPARENT
from schemas.events import Mode

M = TypeVar("M", bound=BaseModel)

_KEY = re.compile(r"[\x21-\x7e]{1,200}")
_SOUND = "recording"
_MARKS = (b'"', b",", b":", b"[", b"{")
_MOST_MARKS = 100_000
"""Of JSON's marks in one body: more than a long text holds, few enough to be parsed at once."""
_INTRICATE = ("pcm", "variants", "consent")
"""Fields that a form spells as JSON."""
_LONGEST_JSON = 10_000
"""Characters of one."""


async def job_wish(request: Request, limits: Limits) -> Wish:
    """The wish in a body of `POST /v1/jobs`."""
    body, sound = await posted(request, JobBody, JobJson)
    return wish_of(body, sound, limits)


async def posted(request: Request, form: type[M], spelled: type[M]) -> tuple[M, bytes | None]:
    """The fields of a body, and the recording in it if there is one.

    A multipart form has a file, or JSON (a `spelled`) a string in base64, called `recording`.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        body = _validated(spelled, await request.body())
        recording: str | None = getattr(body, _SOUND)
        return body, None if recording is None else decoded(recording)
    if kind == "multipart/form-data":
        fields, sound = await _form(request)
        try:
            return form.model_validate(fields), sound
        except ValidationError as wrong:
            raise problem_of(wrong) from None
    raise Problem("media_type_unsupported")


async def tts_wish(request: Request, limits: Limits) -> Wish:
    """The wish in a body of `POST /tts`, whatever content type its client declares."""
    body = _validated(TtsJson, await request.body())
    if not (body.text or "").strip():
        raise Problem("text_missing")
    if not (body.prompt_audio or "").strip():
        raise Problem("recording_missing")
    try:
        mode = Mode(body.mode or Mode.ZERO_SHOT)
    except ValueError:
        raise Problem("mode_unknown") from None
    asked = JobBody(text=body.text or "", mode=mode, instruct=body.instruct)
    return wish_of(asked, decoded(body.prompt_audio or ""), limits)


def idempotency_key(request: Request) -> str | None:
    """The request's Idempotency-Key, if it bears one."""
    key = request.headers.get("idempotency-key")
    if key is not None and not _KEY.fullmatch(key):
        raise Problem("idempotency_key_invalid")
    return key


def traceparent(request: Request) -> str | None:
    """The request's W3C traceparent; None where it bears none that can be read."""
    trace = request.headers.get("traceparent", "")
    return trace if TRACEPARENT.fullmatch(trace) else None


def _validated(model: type[M], body: bytes) -> M:
    """`body` as a `model`. A recording is one long string: whatever is intricate is no request,
    and would keep everybody waiting while it is parsed.
    """
    if sum(body.count(mark) for mark in _MARKS) > _MOST_MARKS:
        raise Problem("body_too_intricate")
    try:
        return model.model_validate_json(body)
    except ValidationError as wrong:
        raise problem_of(wrong) from None


async def _form(request: Request) -> tuple[dict[str, Any], bytes | None]:
    try:
        async with request.form(
            max_files=1, max_fields=20, max_part_size=request.app.state.gateway.settings.max_body
        ) as form:
            sound = await _sound(form)
            fields: dict[str, Any] = {
                name: value for name, value in form.items() if isinstance(value, str) and value
            }
    except HTTPException:
        raise Problem("body_not_multipart") from None
    fields.pop(_SOUND, None)
    spelled = {name: _json(fields[name]) for name in _INTRICATE if name in fields}
    return fields | spelled, sound


async def _sound(form: FormData) -> bytes | None:
    """The recording: a file, or base64 as text."""
    found = form.get(_SOUND)
    if isinstance(found, UploadFile):
        return await found.read()
    return None if found is None else decoded(found)


def _json(text: str) -> Any:
    try:
        return json.loads(text) if len(text) <= _LONGEST_JSON else text
    except (ValueError, RecursionError):
        return text  # the model says what is wrong with it
