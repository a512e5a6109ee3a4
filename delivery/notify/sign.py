"""Standard Webhooks: what a notice's body is, and how it is signed.

Pure. Refuses to know who is told and where.
Source: github.com/standard-webhooks/standard-webhooks, spec 1.0.0.
"""

from __future__ import annotations

import base64
import hmac
import json
from hashlib import sha256

from relay.notices import Ending
from schemas.envelope import format_time


def body_of(ending: Ending) -> bytes:
    """The body: thin, so that whoever reads it still has to prove that the job is theirs."""
    said = {
        "type": f"job.{ending.state.value}",
        "timestamp": format_time(ending.at),
        "data": {"job_id": str(ending.job), "state": ending.state.value},
    }
    return json.dumps(said, separators=(",", ":")).encode()


def headers(id_: str, timestamp: int, body: bytes, secret: bytes) -> dict[str, str]:
    """The three headers: the id is the event's, the same at every try."""
    signed = f"{id_}.{timestamp}.".encode() + body
    signature = base64.b64encode(hmac.new(secret, signed, sha256).digest()).decode()
    return {
        "webhook-id": id_,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{signature}",
    }
