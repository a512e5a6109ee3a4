"""Kinds of objects that no job owns: parts of uploads, and voices that may be taken back.

Knows their names. Refuses to know when they go: `relay.sweep` does.
"""

from __future__ import annotations

UPLOAD = "upload"
"""A part of an upload; none lives for longer than a day."""
VOICE = "voice"
"""A saved voice, `voice/<person>/<voice>`: gone from the instant at which it is revoked."""


def revocable(key: str) -> bool:
    """Whether what lies under `key` may be taken back while jobs still name it."""
    return key.startswith(f"{VOICE}/")
