"""Settings of the spine: frozen, read once at the door, passed down.

Knows the variables' names, forms and defaults (`VOXRELAY_*`). Refuses to open anything: whoever
builds a part takes from here what it needs.
"""

from __future__ import annotations

from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from relay.retention import Retention, read_retention

Network = IPv4Network | IPv6Network


def _networks(value: object) -> object:
    if not isinstance(value, str):
        return value
    return tuple(ip_network(each.strip(), strict=False) for each in value.split(",") if each)


Networks = Annotated[tuple[Network, ...], NoDecode, BeforeValidator(_networks)]
"""Spelled as CIDR, by comma."""


class KafkaSecurity(StrEnum):
    """How the brokers are spoken to."""

    PLAINTEXT = "PLAINTEXT"
    SSL = "SSL"
    SASL_PLAINTEXT = "SASL_PLAINTEXT"
    SASL_SSL = "SASL_SSL"


class Settings(BaseSettings):
    """What every process of the relay reads."""

    model_config = SettingsConfigDict(env_prefix="VOXRELAY_", frozen=True, extra="ignore")

    data: Path = Field(
        default=Path("data"), description="Folder of everything the embedded relay keeps."
    )
    log: str = Field(
        default="sqlite",
        description="`sqlite` (a file in the data folder), or `kafka://host:port,host:port`.",
    )
    sql: str = Field(
        default="sqlite",
        description="`sqlite` (a file in the data folder), or `postgresql://user:password@host/db`.",
    )
    objects: str = Field(
        default="disk", description="`disk` (in the data folder), or `s3://bucket`."
    )
    models: Path | None = Field(
        default=None, description="Folder with model weights; nothing is downloaded then."
    )
    site: str = Field(
        default="voxrelay://local", description="`ce_source` of jobs accepted here: names the site."
    )
    outbox: str = Field(
        default="outbox",
        pattern=r"^[A-Za-z0-9._-]{1,100}$",
        description="Begins the names of the outbox's sources: another one for each database that "
        "feeds the same Kafka.",
    )
    stages: str = Field(
        default="ingest,moderation,synth,delivery,notify,audit",
        description="Stages of this site, which `up` runs; an edge has `ingest,bridge`, and "
        "`notify` where its callers have webhooks.",
    )
    master_key_file: Path | None = Field(
        default=None,
        description="File with the 32-byte master key in hex; made in the data folder if embedded.",
    )
    public_url: str | None = Field(
        default=None, description="The address clients reach the gateway under, as they spell it."
    )

    keep: str = Field(
        default="",
        description="Days that kinds of objects (recording, hearing, features, speech, audio) and "
        "topics are kept where that is not 190, and archived hours where that is not 1095: "
        "`recording=30,speech=7,prompt-uploaded=365,archive=730`.",
    )
    webhook_networks: Networks = Field(
        default=(),
        description="Networks (CIDR, by comma) that webhooks may call although they are not "
        "public, by plain HTTP too.",
    )

    kafka_security: KafkaSecurity = Field(
        default=KafkaSecurity.PLAINTEXT, description="How the brokers are spoken to."
    )
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        default="SCRAM-SHA-512", description="How we prove who we are."
    )
    kafka_username: str | None = Field(default=None, description="Our name at the brokers.")
    kafka_password: SecretStr | None = Field(default=None, description="Its password.")
    kafka_ca_file: Path | None = Field(
        default=None, description="Authority of the brokers' certificates; none: the system's."
    )
    kafka_replication: int = Field(default=1, ge=1, description="Replication of created topics.")
    partitions: int | None = Field(
        default=None, ge=1, description="Partitions of each topic: 4 on SQLite, 24 on Kafka."
    )

    s3_endpoint: str | None = Field(default=None, description="`http(s)://host:port` of the store.")
    s3_public_endpoint: str | None = Field(
        default=None, description="The store as phones reach it: signed addresses name this host."
    )
    s3_region: str = Field(default="us-east-1", description="Region that requests are signed for.")
    s3_access_key: str | None = Field(default=None, description="Name of the key to sign with.")
    s3_secret_key: SecretStr | None = Field(default=None, description="The key itself.")
    s3_addressing: Literal["path", "virtual"] = Field(
        default="path", description="Where the bucket's name stands: in the path, or in the host."
    )
    s3_ca_file: Path | None = Field(
        default=None, description="Authority of the store's certificate; none: the system's."
    )

    waiting: int = Field(
        default=256, ge=1, description="Records of each partition that a stage holds at most."
    )
    waiting_bytes: int = Field(
        default=4_000_000,
        ge=1,
        description="Bytes of each partition's records beyond which it fetches no more.",
    )
    dead_letter_run: int = Field(
        default=50,
        ge=0,
        description="Dead letters in a row after which a stage stops, until `voxrelay audit dead "
        "resume`; 0: never.",
    )
    dead_letter_ratio: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="Share of dead letters among the last 200 records beyond which it stops; "
        "1: never.",
    )
    metrics_port: int | None = Field(
        default=None, ge=0, le=65535, description="Port of a stage's /readyz and /metrics."
    )

    @field_validator("log")
    @classmethod
    def _log_form(cls, value: str) -> str:
        if value != "sqlite" and not value.startswith("kafka://"):
            raise ValueError("must be `sqlite` or `kafka://host:port`")
        return value

    @field_validator("keep")
    @classmethod
    def _keep_form(cls, value: str) -> str:
        read_retention(value)
        return value

    @field_validator("stages")
    @classmethod
    def _stages_form(cls, value: str) -> str:
        if "bridge" in (names := _names(value)) and set(names) - {"ingest", "bridge", "notify"}:
            raise ValueError(
                "an edge runs `ingest,bridge` (and `notify`) alone: its cluster does the rest"
            )
        return value

    @field_validator("sql")
    @classmethod
    def _sql_form(cls, value: str) -> str:
        if value != "sqlite" and not value.startswith("postgresql://"):
            raise ValueError("must be `sqlite` or `postgresql://user:password@host/db`")
        return value

    @field_validator("objects")
    @classmethod
    def _objects_form(cls, value: str) -> str:
        if value != "disk" and not value.startswith("s3://"):
            raise ValueError("must be `disk` or `s3://bucket`")
        return value

    @model_validator(mode="after")
    def _whole(self) -> Settings:
        if self.objects != "disk" and not (
            self.s3_endpoint and self.s3_access_key and self.s3_secret_key
        ):
            raise ValueError(
                "VOXRELAY_OBJECTS=s3://… needs VOXRELAY_S3_ENDPOINT, VOXRELAY_S3_ACCESS_KEY and "
                "VOXRELAY_S3_SECRET_KEY"
            )
        if self.kafka_security.value.startswith("SASL") and not (
            self.kafka_username and self.kafka_password
        ):
            raise ValueError("SASL needs VOXRELAY_KAFKA_USERNAME and VOXRELAY_KAFKA_PASSWORD")
        return self

    @property
    def retention(self) -> Retention:
        """How long topics and objects are kept."""
        return read_retention(self.keep)

    @property
    def runs(self) -> tuple[str, ...]:
        """Names of this site's stages."""
        return _names(self.stages)

    @property
    def edge(self) -> bool:
        """Whether a cluster elsewhere does the work, and decides on what waits."""
        return "bridge" in self.runs

    @property
    def embedded(self) -> bool:
        """Whether the log is a local file."""
        return self.log == "sqlite"


def _names(value: str) -> tuple[str, ...]:
    return tuple(name for each in value.split(",") if (name := each.strip()))
