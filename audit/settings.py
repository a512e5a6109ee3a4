"""Settings of the auditor: frozen, read once at the door (`VOXRELAY_AUDIT_*`).

Knows names, forms and defaults. Refuses to open anything.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from relay.settings import Settings


class AuditSettings(BaseSettings):
    """What the auditor reads beside the settings of the spine."""

    model_config = SettingsConfigDict(env_prefix="VOXRELAY_AUDIT_", frozen=True, extra="ignore")

    key_file: Path | None = Field(
        default=None,
        description="Ed25519 key (PEM) that signs roots and bundles; `audit.key` in the data "
        "folder, and made there, if not given.",
    )
    witness: str | None = Field(
        default=None,
        pattern="^s3://[^/]+$",
        description="`s3://bucket` with object lock, in somebody else's hands, that hourly roots "
        "are left in; none if not given.",
    )
    witness_endpoint: str | None = Field(
        default=None, description="`http(s)://host:port` of the witness."
    )
    witness_region: str = Field(default="us-east-1", description="Its region.")
    witness_access_key: str | None = Field(default=None, description="Our name there.")
    witness_secret_key: SecretStr | None = Field(default=None, description="Our secret there.")
    witness_days: int = Field(
        default=400, ge=1, description="Days for which nobody can take a root back."
    )
    archive: bool = Field(
        default=False,
        description="Whether closed hours of the log are archived to the object store, and read "
        "from there once the topics have dropped them: for the audit process, the gateway and "
        "whoever runs `voxrelay audit`.",
    )


def key_file(audit: AuditSettings, relay: Settings) -> Path:
    """Where the signing key lies."""
    return audit.key_file or relay.data / "audit.key"
