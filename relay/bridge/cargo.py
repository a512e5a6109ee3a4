"""Getting an object from one store to another: once, whole, and never over what lies there.

Knows keys, bytes and their hash. Refuses to know what the object is for.
"""

from __future__ import annotations

from hashlib import sha256

from relay.errors import BadRecord, Missing
from relay.objects.port import ObjectStore


async def copy(key: str, digest: str, origin: ObjectStore, goal: ObjectStore) -> None:
    """Put the object of `origin` into `goal` unless one lies there.

    `Missing` where `origin` has none, `BadRecord` (`object_broken`) where its SHA-256 is another.
    """
    if await _has(goal, key):  # to ask costs less than to send it in vain
        return
    content_type = (await origin.stat(key)).content_type
    data = await origin.get(key)
    if sha256(data).hexdigest() != digest:
        raise BadRecord("object_broken", "A file of this job was damaged. Please send it again.")
    await goal.put(key, data, content_type)


async def _has(store: ObjectStore, key: str) -> bool:
    try:
        await store.stat(key)
    except Missing:
        return False
    return True
