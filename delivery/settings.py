"""Settings of delivery: frozen, read once at the door (`VOXRELAY_DELIVERY_*`).

Knows names, forms and defaults. Refuses to open anything.
"""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class DeliverySettings(BaseSettings):
    """What delivery reads beside the settings of the spine."""

    model_config = SettingsConfigDict(env_prefix="VOXRELAY_DELIVERY_", frozen=True, extra="ignore")

    producer: str = Field(
        default="VoxRelay",
        min_length=1,
        max_length=200,
        description="`ContentProducer` of the AIGC label in every file: the operator's name or "
        "registered code.",
    )
    kbps: int = Field(
        default=64, ge=32, le=160, description="Kilobits per second of MP3 and M4A files."
    )
    in_flight: int = Field(default=8, ge=1, description="Files made at once.")
