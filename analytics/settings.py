"""Settings of analytics: frozen, read once at the door (`VOXRELAY_ANALYTICS_*`).

Knows names, forms and defaults. Refuses to open anything.
"""

from __future__ import annotations

from decimal import Decimal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class AnalyticsSettings(BaseSettings):
    """What analytics reads beside the settings of the spine."""

    model_config = SettingsConfigDict(env_prefix="VOXRELAY_ANALYTICS_", frozen=True, extra="ignore")

    host: str = Field(default="127.0.0.1", description="Where the dashboard listens.")
    port: int = Field(
        default=8090, ge=0, le=65535, description="Its port; 0 takes a free one, and says which."
    )
    price: Decimal | None = Field(
        default=None,
        ge=0,
        description="What a minute of speech costs to compute; no cost is shown if not given.",
    )
    currency: str = Field(
        default="CNY", pattern=r"^[A-Z]{3}$", description="Currency of the price (ISO 4217)."
    )
