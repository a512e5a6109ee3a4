"""Settings of moderation: frozen, read once at the door (`VOXRELAY_MODERATION_*`).

Knows names, forms and defaults. Refuses to open anything.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class ModerationSettings(BaseSettings):
    """What moderation reads beside the settings of the spine."""

    model_config = SettingsConfigDict(
        env_prefix="VOXRELAY_MODERATION_", frozen=True, extra="ignore"
    )

    model: str = Field(
        default="base",
        description="Whisper that hears recordings: tiny, base, small, medium, large-v3, turbo, "
        "or the path of a checkpoint of your own.",
    )
    device: Literal["cpu", "cuda"] = Field(default="cpu", description="Where Whisper runs.")
    threads: int = Field(default=2, ge=1, le=256, description="CPU threads that Whisper may use.")
    batch: int = Field(default=16, ge=1, le=256, description="Recordings heard at once, at most.")
    policy: Path | None = Field(
        default=None, description="Policy file (TOML, see docs/moderation.md); ours if not given."
    )
    in_flight: int = Field(
        default=32, ge=1, description="Prompts judged at once; more than a batch keeps it full."
    )
