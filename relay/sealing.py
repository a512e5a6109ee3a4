"""Sealing one personal value: AES-SIV under its person's key, bound to the event and the field.

Knows bytes and associated data. Equal input gives equal bytes, which is what makes a retried event
the same event. Refuses to know which fields are personal (`schemas.sealed` marks them).
Source: RFC 5297; `cryptography`'s AESSIV.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any
from uuid import UUID

from cryptography.exceptions import InvalidTag
from pydantic_core import from_json, to_json

from relay.errors import BadRecord
from relay.keys import PersonKey


def seal(key: PersonKey, event_id: UUID, field: str, value: Any) -> str:
    """Base64 of the sealed JSON `value` of `field` in the event `event_id`."""
    sealed = key.cipher.encrypt(to_json(value), [_bound(event_id, field)])
    return base64.b64encode(sealed).decode()


def unseal(key: PersonKey, event_id: UUID, field: str, ciphertext: str) -> Any:
    """The value that `seal` took; `BadRecord` where bytes, event, field or key are not the same."""
    try:
        data = base64.b64decode(ciphertext, validate=True)
        return from_json(key.cipher.decrypt(data, [_bound(event_id, field)]))
    except (InvalidTag, binascii.Error, ValueError):
        raise BadRecord("seal_broken", f"The sealed field {field} cannot be opened.") from None


def _bound(event_id: UUID, field: str) -> bytes:
    return f"{event_id}|{field}".encode()
