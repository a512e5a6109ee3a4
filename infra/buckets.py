"""The bucket that the settings name, made where it is missing. A folder needs no setting up."""

from __future__ import annotations

from relay.objects.open import s3_address
from relay.objects.s3 import S3Store
from relay.settings import Settings


async def apply(settings: Settings) -> None:
    """Create the bucket; run it as often as you like. `Unavailable` if the store is down."""
    if settings.objects == "disk":
        return
    store = S3Store(s3_address(settings))
    try:
        await store.create_bucket()
    finally:
        await store.close()
