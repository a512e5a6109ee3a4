"""What OpenAPI says of refusals: problem details, for each status a door may answer with."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from ingest.problems import MEDIA_TYPE


class FieldWrong(BaseModel):
    """A field, and what it should be."""

    where: str
    message: str


class ProblemShown(BaseModel):
    """Problem details (RFC 9457). `code` is stable and for programs, `detail` is for people."""

    type: str
    title: str
    status: int
    detail: str = Field(description="In Chinese or English, by Accept-Language.")
    code: str
    errors: list[FieldWrong] | None = None


class TtsRefused(BaseModel):
    """How `/tts` refuses."""

    error: str
    task_id: str | None


_MEANING = {
    202: "Waits for a person to review it",
    400: "Not a request we can read",
    401: "A token is required, or yours is no good",
    403: "Not allowed",
    404: "There is no such thing, or it is another's",
    405: "This address does not take this method",
    408: "The body took too long to arrive",
    409: "Not yet, or not any more; `code` says which",
    410: "No longer kept",
    412: "Not a version of tus that is spoken here",
    413: "The body is too large",
    415: "The media type is not taken",
    416: "The range lies outside the file",
    422: "Something in the request is wrong; `code` says what",
    429: "Too many requests; Retry-After says when",
    500: "Something went wrong here",
    503: "A part of the service is down (`unavailable`), or too much waits already (`overloaded`); "
    "Retry-After says when to try again",
    504: "Still being worked on; ask by task_id",
}
_PROBLEM = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemShown"}}}


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """`responses` for a door that may refuse with `statuses`, and with 503 as every door may."""
    return {
        status: {"description": _MEANING[status], "content": _PROBLEM}
        for status in (*statuses, 503)
    }


def tts_refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The same for `/tts`, in its own form."""
    return {status: {"description": _MEANING[status], "model": TtsRefused} for status in statuses}
