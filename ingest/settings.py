"""Settings of the gateway: frozen, read once at the door (`VOXRELAY_INGEST_*`).

Knows names, forms and defaults. Refuses to open anything.
"""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from relay.settings import Networks


def loopback(host: str) -> bool:
    """Whether whoever listens on `host` is reached from this machine alone."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class IngestSettings(BaseSettings):
    """What the gateway reads beside the settings of the spine."""

    model_config = SettingsConfigDict(env_prefix="VOXRELAY_INGEST_", frozen=True, extra="ignore")

    host: str = Field(default="127.0.0.1", description="Address that the gateway listens on.")
    port: int = Field(default=8080, ge=0, le=65535, description="Port; 0 takes a free one.")
    anonymous: bool = Field(
        default=False,
        description="The operator declares that callers without a token have consent for the "
        "voices they send, and lets them in by address.",
    )
    trusted_proxies: Networks = Field(
        default=(),
        description="Networks (CIDR, by comma) whose X-Forwarded-For and -Proto are believed.",
    )
    max_body: int = Field(
        default=12_000_000, ge=1_000, description="Largest body of a request, in bytes."
    )
    body_seconds: float = Field(
        default=120.0, gt=0, description="Seconds in which a request's body has to arrive."
    )
    text_limit: int = Field(default=5_000, ge=1, description="Characters of a text on /v1/jobs.")
    tts_text_limit: int = Field(default=200, ge=1, description="Characters of a text on /tts.")
    instruct_limit: int = Field(default=500, ge=1, description="Characters of an instruction.")
    tts_wait: float = Field(
        default=50.0, ge=0, le=300, description="Seconds that /tts waits for its job."
    )
    domain_files: Path | None = Field(
        default=None,
        description="Folder of small `.txt` files served at the root, by which others see whose "
        "the domain is: WeChat's verification file is one.",
    )
    quota_per_minute: float = Field(
        default=3.0, ge=0, description="Jobs a minute for each person; 0 is no limit."
    )
    quota_burst: float = Field(
        default=3.0, ge=1, description="Jobs that a person who has rested may send at once."
    )
    daily_seconds: float = Field(
        default=3_600.0,
        ge=0,
        description="Seconds of speech a day (UTC) for each person; 0 is no limit.",
    )
    concurrent: int = Field(
        default=20,
        ge=0,
        description="Jobs of one person that may be worked on at once; 0 is no limit.",
    )
    token_minutes: float = Field(
        default=60.0, gt=0, description="Minutes for which an access token is good."
    )
    session_days: float = Field(
        default=30.0, gt=0, description="Days after which a session that nobody refreshes ends."
    )
    sign_ins_per_minute: float = Field(
        default=60.0, gt=0, description="Sign-ins a minute from one address."
    )
    refused_per_minute: int = Field(
        default=60,
        ge=0,
        description="Refused requests a minute that leave an event each; the others are counted.",
    )
    max_waiting: int = Field(
        default=10_000,
        ge=0,
        description="Records that may wait in outbox and log before jobs are refused with 503; "
        "0 is no limit.",
    )
    held_days: float = Field(
        default=3.0,
        gt=0,
        le=180,
        description="Days that a held prompt waits for a person; then its job ends as failed.",
    )
    recording_min_seconds: float = Field(default=1.0, gt=0, description="Shortest recording.")
    recording_max_seconds: float = Field(default=30.0, gt=0, description="Longest recording.")
    silence_peak: float = Field(
        default=0.001, ge=0, lt=1, description="Peak, of 1.0, below which a recording is silent."
    )
    probe_processes: int = Field(
        default=2, ge=1, le=64, description="Processes that read recordings."
    )
    probe_seconds: float = Field(
        default=1.0, gt=0, description="Seconds of computing that one recording may cost."
    )
    probe_memory: int = Field(
        default=256_000_000, ge=64_000_000, description="Bytes it may use for one recording."
    )
    url_minutes: float = Field(
        default=15.0, gt=0, description="Minutes for which a signed audio address is good."
    )
    upload_bytes: int = Field(
        default=12_000_000, ge=1_000, description="Largest upload in parts, in bytes."
    )
    upload_count: int = Field(
        default=50, ge=1, description="Uploads that a person may have at a time."
    )
    upload_total: int = Field(
        default=100_000_000, ge=1_000, description="Bytes that they may have together."
    )
    upload_hours: float = Field(
        default=24.0, gt=0, le=24, description="Hours after which an upload is gone."
    )
    heartbeat: float = Field(
        default=15.0, gt=0, description="Seconds between signs of life on an event stream."
    )

    @model_validator(mode="after")
    def _whole(self) -> IngestSettings:
        if self.anonymous and not self.quota_per_minute and not loopback(self.host):
            raise ValueError(
                "VOXRELAY_INGEST_ANONYMOUS elsewhere than on loopback needs a quota for each "
                "address: VOXRELAY_INGEST_QUOTA_PER_MINUTE"
            )
        return self

    @property
    def url(self) -> str:
        """Where the gateway listens, for an operator who has set no public address."""
        return f"http://{self.host}:{self.port}"
