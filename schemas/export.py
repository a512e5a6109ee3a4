"""JSON Schema of every event as it lies in the log, for readers in any language.

Knows that a personal field is an object `{"sealed": base64}` there. Refuses to write files.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from schemas.events import BY_TYPE
from schemas.sealed import sealed_fields

_SEALED: dict[str, Any] = {
    "type": "object",
    "properties": {"sealed": {"type": "string", "contentEncoding": "base64"}},
    "required": ["sealed"],
    "additionalProperties": False,
    "description": "Sealed under the person's key (AES-SIV); readable by the relay alone.",
}


def json_schemas() -> dict[str, dict[str, Any]]:
    """Schema by CloudEvents type."""
    return {type_: _as_logged(event) for type_, event in BY_TYPE.items()}


def _as_logged(event: type[BaseModel]) -> dict[str, Any]:
    schema = event.model_json_schema(mode="serialization")
    for name in sealed_fields(event):
        field = event.model_fields[name]
        schema["properties"][name] = (
            _SEALED if field.is_required() else {"anyOf": [_SEALED, {"type": "null"}]}
        )
    return schema
