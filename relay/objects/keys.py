"""The form of an object's key: `<kind>/<person>/<hash>`, and nothing that climbs out of a folder.

Knows the characters. Refuses to know what the parts mean.
"""

from __future__ import annotations

import re

from relay.errors import BadRecord

_PART = r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}"  # a folder's name may have 255 bytes
_KEY = re.compile(f"{_PART}(/{_PART})+")
_LONGEST = 512


def checked(key: str) -> str:
    """`key` itself; `BadRecord` where it is none: it may come from an event."""
    if len(key) > _LONGEST or not _KEY.fullmatch(key):
        raise BadRecord("object_key_invalid", "The event names a file in a form we do not keep.")
    return key
