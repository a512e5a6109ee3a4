"""One hostile upload: drawn from seed and number, sent through the door, its answer judged."""

from __future__ import annotations

import base64
import time
from dataclasses import dataclass, field
from random import Random
from typing import Any

import httpx

from ingest.sentences import SENTENCES
from tests.hostile.bases import RAW_RATE, bases
from tests.hostile.handmade import AGAIN, TAKEN
from tests.hostile.mutate import mutated

DOORS = ("json", "multipart", "form field")
SECONDS = 5.0
"""No answer may take longer."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A file, and the door it goes through."""

    name: str
    data: bytes
    door: str
    raw: bool = False


@dataclass(slots=True)
class Outcome:
    """What came of one upload; `wrong` in words where something is."""

    code: str
    seconds: float
    job: str | None = None
    again_in: float = 0.0
    """Seconds after which a client that was sent away may come again."""
    wrong: list[str] = field(default_factory=list)


def drawn(seed: int, n: int) -> Upload:
    """The `n`-th upload of `seed`; always the same one."""
    draw = Random(f"{seed}/{n}")
    known = bases()
    name = draw.choice(list(known))
    data = mutated(draw, known[name], list(known.values()))
    raw = name == "raw" and draw.random() < 0.8
    return Upload(f"{seed}/{n} {name}", data, draw.choice(DOORS), raw)


async def send(client: httpx.AsyncClient, upload: Upload) -> Outcome:
    """Send it once and judge the answer by what every answer has to be."""
    begun = time.perf_counter()
    try:
        answer = await client.post("/v1/jobs", **_request(upload))
    except httpx.HTTPError as broken:
        return Outcome("none", time.perf_counter() - begun, wrong=[f"no answer: {broken!r}"])
    took = time.perf_counter() - begun
    said = _judged(answer, took)
    said.wrong += [f"answered after {took:.1f} s"] if took > SECONDS else []
    return said


def _request(upload: Upload) -> dict[str, Any]:
    pcm = {"sample_rate": RAW_RATE}
    if upload.door == "json":
        body = {"text": "你好。", "recording": base64.b64encode(upload.data).decode()}
        return {"json": {**body, "pcm": pcm} if upload.raw else body}
    fields = {"text": "你好。", **({"pcm": f'{{"sample_rate": {RAW_RATE}}}'} if upload.raw else {})}
    if upload.door == "multipart":
        return {"data": fields, "files": {"recording": ("../../a.wav", upload.data)}}
    spelled = base64.b64encode(upload.data)
    return {"data": fields, "files": {"recording": (None, spelled)}}


def _judged(answer: httpx.Response, took: float) -> Outcome:
    try:
        body = answer.json()
    except ValueError:
        return Outcome("none", took, wrong=[f"{answer.status_code} without JSON"])
    if answer.status_code == 202:
        return Outcome(TAKEN, took, job=body["job_id"])
    code = str(body.get("code"))
    said = Outcome(code, took, again_in=float(answer.headers.get("retry-after", 0)))
    known = SENTENCES.get(code)
    if known is None or known.status != answer.status_code:
        said.wrong.append(f"{answer.status_code} with code {code}")
    elif answer.status_code >= 500 and code != AGAIN:
        said.wrong.append(f"a server's error: {code}")
    elif code == AGAIN and not said.again_in:
        said.wrong.append("sent away without a word when to come again")
    return said
