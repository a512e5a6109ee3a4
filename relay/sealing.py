"""Sealing one personal value: AES-SIV under its person's key, bound to the event and the field.

Knows bytes and associated data. Equal input gives equal bytes, which is what makes a retried event
the same event. Refuses to know which fields are personal (`schemas.sealed` marks them).
Source: RFC 5297; `cryptography`'s AESSIV.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from relay.errors import BadRecord
from relay.keys import PersonKey

compact = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
"""JSON without spaces, in one spelling: equal values give equal bytes."""


def seal(key: PersonKey, event_id: UUID, field: str, value: Any) -> str:
    """Base64 of the sealed JSON `value` of `field` in the event `event_id`."""
    plain = compact(value).encode()
    return base64.b64encode(AESSIV(key.secret).encrypt(plain, [_bound(event_id, field)])).decode()


def unseal(key: PersonKey, event_id: UUID, field: str, ciphertext: str) -> Any:
    """The value that `seal` took; `BadRecord` where bytes, event, field or key are not the same."""
    try:
        data = base64.b64decode(ciphertext, validate=True)
        return json.loads(AESSIV(key.secret).decrypt(data, [_bound(event_id, field)]))
    except (InvalidTag, binascii.Error, ValueError):
        raise BadRecord("seal_broken", f"The sealed field {field} cannot be opened.") from None


def _bound(event_id: UUID, field: str) -> bytes:
    return f"{event_id}|{field}".encode()
