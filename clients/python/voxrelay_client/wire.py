"""The protocol without I/O: requests in the form httpx takes them, answers into values or errors.

Knows paths, fields, the idempotency key and how a refusal is spelled. Refuses to open a connection
and to wait.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypedDict
from uuid import UUID, uuid4

import httpx
from httpx_retries import Retry

from voxrelay_client.errors import NotSpoken, Refused, Unreachable, VoxRelayError
from voxrelay_client.models import Job

SILENCE_SECONDS = 45.0
"""The gateway gives a sign of life every 15 s: whoever is silent for longer is gone."""

Sound = bytes | str | Path
"""A recording: its bytes, or where it lies."""


PIECE = 1_000_000
"""Bytes of an upload that are sent at once."""
_OCTETS = "application/offset+octet-stream"
VOICES = "/v1/voices"
UPLOADS = "/v1/uploads"


class Manner(TypedDict, total=False):
    """How the text is spoken, and what is delivered; every field may be left out.

    `upload` or `voice` (an id) stands in place of a recording; of several `variants`, each is a
    job of its own.
    """

    mode: str
    instruct: str
    style: str
    speed: float
    seed: int
    format: str
    language: str
    pcm: Mapping[str, int]
    upload: str
    voice: str
    variants: Sequence[Mapping[str, Any]]


def retry(patience: float) -> Retry:
    """When a request is sent again: nobody answered, or somebody said that he cannot just now.

    Sending a job again is safe, since it always goes under an idempotency key. A refusal for
    quota (429) is the caller's to wait for. Without patience nothing is sent again.
    """
    return Retry(
        total=10 if patience > 0 else 0,
        allowed_methods=("GET", "HEAD", "POST", "PATCH", "DELETE"),
        status_forcelist=(502, 503, 504),
        backoff_factor=0.2,
        max_backoff_wait=5.0,
        total_timeout=patience if patience > 0 else None,
    )


def silence(patience: float) -> float:
    """Seconds after which a stream that has broken off is not begun again."""
    return patience + SILENCE_SECONDS if patience > 0 else 0.0


def timeout() -> httpx.Timeout:
    """Of one try."""
    return httpx.Timeout(30.0, connect=5.0)


def headers(token: str | None, language: str) -> dict[str, str]:
    """What goes with every request."""
    said = {"Accept-Language": language}
    return said | ({"Authorization": f"Bearer {token}"} if token else {})


def posted(
    text: str, recording: Sound | None, key: str | None, manner: Mapping[str, Any]
) -> dict[str, Any]:
    """The body and headers of `POST /v1/jobs`; without a key of the caller's, a fresh one."""
    return _body({"text": text, **manner}, recording, key)


def saved(
    name: str, recording: Sound | None, key: str | None, consent: Mapping[str, str], **more: Any
) -> dict[str, Any]:
    """The body and headers of `POST /v1/voices`."""
    return _body({"name": name, "consent": consent, **more}, recording, key)


def _body(fields: Mapping[str, Any], recording: Sound | None, key: str | None) -> dict[str, Any]:
    given = {name: value for name, value in fields.items() if value is not None}
    head = {"headers": {"Idempotency-Key": key or str(uuid4())}}
    if recording is None:
        return {"json": given, **head}
    data = {name: _field(value) for name, value in given.items()}
    return {"data": data, "files": {"recording": ("recording", sound_of(recording))}, **head}


def sound_of(recording: Sound) -> bytes:
    """The bytes of a recording."""
    return recording if isinstance(recording, bytes) else Path(recording).read_bytes()


def upload_of(response: httpx.Response) -> str:
    """The id of an upload just begun."""
    if not response.is_success:
        raise refusal(response)
    return response.headers["location"].rpartition("/")[2]


def piece(offset: int, data: bytes) -> dict[str, Any]:
    """What of `data` follows at `offset`, as a request."""
    head = {"Content-Type": _OCTETS, "Upload-Offset": str(offset), "Tus-Resumable": "1.0.0"}
    return {"headers": head, "content": data[offset : offset + PIECE]}


def gone_on(response: httpx.Response) -> int:
    """Where an upload goes on; a part that had come, although nobody said so, is passed over."""
    offset = response.headers.get("upload-offset")
    if offset is None or not (response.is_success or response.status_code == httpx.codes.CONFLICT):
        raise refusal(response)
    return int(offset)


def path_in(folder: str, id_: str | UUID, *rest: str) -> str:
    """`/v1/voices/{id}/…`, say; `ValueError` where that is no id."""
    return "/".join((folder, str(UUID(str(id_))), *rest))


def path_of(job_id: str | UUID, *rest: str) -> str:
    """`/v1/jobs/{job_id}/…`; `ValueError` where that is no job id."""
    return path_in("/v1/jobs", job_id, *rest)


def resumed(seq: int | None) -> dict[str, str]:
    """Headers that ask for the events beyond `seq`."""
    return {} if seq is None else {"Last-Event-ID": str(seq)}


def checked(response: httpx.Response) -> Any:
    """The JSON of an answer, if it has any; raises `Refused`, or `Unreachable` where the gateway
    cannot.
    """
    if response.is_success:
        return response.json() if response.content else None
    raise refusal(response)


def refusal(response: httpx.Response) -> VoxRelayError:
    """What an answer that is no success means."""
    try:
        said = response.json()
    except ValueError:
        said = None
    if not isinstance(said, dict):  # not ours: a proxy in between said it
        said = {}
    detail = str(said.get("detail") or response.reason_phrase)
    if response.status_code >= 500:
        return Unreachable(f"{response.status_code}: {detail}")
    return Refused(
        response.status_code,
        str(said.get("code", f"http_{response.status_code}")),
        detail,
        tuple(said.get("errors", ())),
        _seconds(response.headers.get("retry-after")),
    )


def delivered(job: Job) -> str:
    """Where the speech of `job` lies; raises `NotSpoken` where there is none."""
    if job.audio is None:
        raise NotSpoken(job)
    return job.audio.url


def whole(job: Job, data: bytes) -> bytes:
    """`data`, if it is what the job says; raises `Unreachable` where it came in part or changed."""
    if job.audio is not None and hashlib.sha256(data).hexdigest() != job.audio.sha256:
        raise Unreachable("the audio did not arrive whole")
    return data


@contextmanager
def translated() -> Iterator[None]:
    """Raises what httpx raises for want of an answer as `Unreachable`."""
    try:
        yield
    except httpx.TransportError as why:
        raise Unreachable(f"{type(why).__name__}: the gateway does not answer") from why


@contextmanager
def resumable(upload: str) -> Iterator[None]:
    """The same of an upload: whoever is told that it broke off is told which."""
    try:
        with translated():
            yield
    except Unreachable as broken:
        broken.upload = upload
        raise


def _field(value: object) -> str:
    return str(value) if isinstance(value, str | int | float) else json.dumps(value)


def _seconds(text: str | None) -> float | None:
    return float(text) if text is not None and text.isdigit() else None
