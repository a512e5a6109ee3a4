"""The object store that the settings name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.errors import Misconfigured
from relay.objects.disk import DiskStore
from relay.objects.port import ObjectStore
from relay.settings import Settings

if TYPE_CHECKING:  # it imports a client that the embedded relay never needs
    from relay.objects.s3 import S3Address


def open_store(settings: Settings) -> ObjectStore:
    """A store for `settings.objects`; nothing is touched yet. `Misconfigured` where it is wrong."""
    if settings.objects == "disk":
        return DiskStore(settings.data / "objects")
    from relay.objects.s3 import S3Store

    return S3Store(s3_address(settings))


def s3_address(settings: Settings) -> S3Address:
    """Where `settings` say the bucket is; `Misconfigured` names what is missing."""
    from relay.objects.s3 import S3Address

    bucket = settings.objects.removeprefix("s3://").strip("/")
    if not (bucket and settings.s3_endpoint and settings.s3_access_key and settings.s3_secret_key):
        raise Misconfigured(
            "VOXRELAY_OBJECTS=s3://bucket needs VOXRELAY_S3_ENDPOINT, VOXRELAY_S3_ACCESS_KEY and"
            " VOXRELAY_S3_SECRET_KEY"
        )
    if settings.s3_ca_file is not None and not settings.s3_ca_file.is_file():
        raise Misconfigured(f"VOXRELAY_S3_CA_FILE: there is no file {settings.s3_ca_file}")
    return S3Address(
        bucket=bucket,
        endpoint=settings.s3_endpoint,
        access_key=settings.s3_access_key,
        secret_key=settings.s3_secret_key.get_secret_value(),
        region=settings.s3_region,
        public_endpoint=settings.s3_public_endpoint,
        virtual_hosted=settings.s3_addressing == "virtual",
        ca_file=settings.s3_ca_file,
    )
