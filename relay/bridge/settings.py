"""Settings of the bridge: where the cluster is, as the edge reaches it (`VOXRELAY_BRIDGE_*`).

Knows that the cluster's end is named like an end of our own. Refuses to open anything.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import AwareDatetime, Field, field_validator
from pydantic_settings import SettingsConfigDict

from relay.handover import Recipient
from relay.settings import Settings


class BridgeSettings(Settings):
    """The cluster's log and store, in the words of `Settings`; the rest of those is not read."""

    model_config = SettingsConfigDict(env_prefix="VOXRELAY_BRIDGE_", frozen=True, extra="ignore")

    SHOWN: ClassVar[frozenset[str]] = frozenset(
        {"cluster_key", "since", "port", "log", "objects", "kafka_security", "kafka_sasl_mechanism"}
        | {"kafka_username", "kafka_password", "kafka_ca_file", "s3_endpoint", "s3_region"}
        | {"s3_access_key", "s3_secret_key", "s3_addressing", "s3_ca_file"}
    )
    """What the bridge reads, for the reference of settings."""

    log: str = Field(description="`kafka://host:port,host:port` of the cluster.")
    objects: str = Field(description="`s3://bucket` of the cluster.")
    cluster_key: str = Field(
        description="The cluster's public key, 64 hex digits, that persons' keys are sealed to: "
        "`voxrelay edge admit` prints it."
    )
    since: AwareDatetime | None = Field(
        default=None,
        description="When the cluster admitted this edge, by its clock: no older outcome is ours.",
    )
    port: int | None = Field(
        default=None,
        ge=0,
        le=65535,
        description="Port of the bridge's own /readyz, which says 503 while the line is down.",
    )

    @field_validator("log")
    @classmethod
    def _a_cluster(cls, value: str) -> str:
        if not value.startswith("kafka://"):
            raise ValueError("must be `kafka://host:port`")
        return value

    @field_validator("cluster_key")
    @classmethod
    def _a_public_key(cls, value: str) -> str:
        try:
            Recipient.read(value)
        except ValueError:
            raise ValueError(
                "must be the 64 hex digits that `voxrelay edge admit` prints"
            ) from None
        return value

    @property
    def cluster(self) -> Recipient:
        """Whom persons' keys are sealed to."""
        return Recipient.read(self.cluster_key)
