"""Settings of synth: frozen, read once at the door (`VOXRELAY_SYNTH_*`).

Knows names, forms and defaults. Refuses to open anything.
"""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class SynthSettings(BaseSettings):
    """What synth reads beside the settings of the spine."""

    model_config = SettingsConfigDict(env_prefix="VOXRELAY_SYNTH_", frozen=True, extra="ignore")

    voice: str = Field(
        default="kokoro",
        description="Which voice speaks: `kokoro`, the demo voice that cannot clone, or the name "
        "of another that is built in.",
    )
    workers: int = Field(
        default=1, ge=1, le=64, description="Pieces that the demo voice speaks at once."
    )
    threads: int = Field(
        default=2, ge=1, le=64, description="CPU threads that each of them may use."
    )
    in_flight: int = Field(
        default=16, ge=1, description="Requests given to the voice at once; it batches them."
    )
