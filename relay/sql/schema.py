"""The tables: one set for SQLite and PostgreSQL.

Knows columns and what must be unique. Refuses to know who writes them. No row holds a plain
personal field: what a person said lies sealed, or not here.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
)

from relay.sql.types import Instant, Serial

VERSION = 6
"""What these tables are. A later one adds a step to `relay.sql.setup`, and edits no old one."""

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)

migrations = Table(
    "migrations",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("applied_at", Instant, nullable=False),
)

secrets = Table(
    "secrets",  # secrets of the site that every process shares, wrapped by the master key
    metadata,
    Column("name", String(64), primary_key=True),
    Column("wrapped", LargeBinary, nullable=False),
    Column("master", String(16), nullable=False),
)

persons = Table(
    "persons",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("address_hmac", LargeBinary, unique=True),  # null: known by an account, not an address
    Column("created_at", Instant, nullable=False),
)

person_keys = Table(
    "person_keys",
    metadata,
    Column("person", Uuid, primary_key=True),
    Column("wrapped", LargeBinary),
    Column("master", String(16)),  # which master key wrapped it
    Column("created_at", Instant, nullable=False),
    Column("destroyed_at", Instant),
    # A tombstone has no key, and only a tombstone has none.
    CheckConstraint("(wrapped IS NULL) = (destroyed_at IS NOT NULL)", name="tombstone"),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("person", Uuid, nullable=False),
    Column("site", Text, nullable=False),  # ce_source: who accepted it
    Column("door", String(32)),  # null where only a later event of it is known here
    Column("format", String(8)),
    Column("state", String(16), nullable=False),
    Column("rank", Integer, nullable=False),
    Column("seq", Integer, nullable=False),  # of its last row in job_events; 0: accepted only
    Column("accepted_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    Column("sealed", JSON),  # personal values, each sealed under the person's key
    Column("detail", JSON, nullable=False),  # `ingest.jobs.Detail`
    Index(None, "person", "accepted_at", "id"),
    Index(None, "state", "updated_at"),
    Index(None, "person", "state"),
)

job_events = Table(
    "job_events",
    metadata,
    Column("job", Uuid, primary_key=True),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("event", Uuid, nullable=False, unique=True),
    Column("state", String(16), nullable=False),
    Column("at", Instant, nullable=False),  # when the log took the event
    Column("payload", JSON, nullable=False),
)

object_refs = Table(
    "object_refs",
    metadata,
    Column("key", Text, primary_key=True),
    Column("event", Uuid, primary_key=True),
    Column("job", Uuid, nullable=False),
    Column("created_at", Instant, nullable=False),
    Index(None, "job"),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("person", Uuid, primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("digest", LargeBinary, nullable=False),  # of the decoded content, under the person's key
    Column("jobs", JSON, nullable=False),  # ids, in the order of the variants
    Column("created_at", Instant, nullable=False),
    Index(None, "created_at"),
)

quotas = Table(
    "quotas",
    metadata,
    Column("person", Uuid, primary_key=True),
    Column("name", String(32), primary_key=True),
    Column("tokens", Float, nullable=False),
    Column("updated_at", Instant, nullable=False),
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),  # drawn at insert: not a position
    Column("shard", Integer, nullable=False),
    Column("position", BigInteger),  # given by the shard's holder, in the order of commits
    Column("topic", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("value", LargeBinary, nullable=False),
    Column("headers", JSON, nullable=False),  # [[name, base64], ...]
    UniqueConstraint("shard", "position"),
    sqlite_autoincrement=True,
)

outbox_shards = Table(
    "outbox_shards",
    metadata,
    Column("shard", Integer, primary_key=True, autoincrement=False),
    Column("counter", BigInteger, nullable=False, default=0),  # the last position given
    Column("owner", String(64)),
    Column("epoch", BigInteger, nullable=False),
    Column("expires_at", Instant, nullable=False),
)

outbox_members = Table(
    "outbox_members",
    metadata,
    Column("owner", String(64), primary_key=True),
    Column("expires_at", Instant, nullable=False),
)

due = Table(
    "due",
    metadata,
    Column("id", Uuid, primary_key=True),  # follows from the event that asked for it
    Column("kind", String(32), nullable=False),
    Column("at", Instant, nullable=False),
    Column("head", JSON),  # of the event whose child the handler may append
    Column("payload", JSON, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("done", Boolean, nullable=False),
    Column("owner", String(64)),
    Column("leased_until", Instant),
    Column("keep_until", Instant),  # set when done: as long as the topic of its event
    Index(None, "done", "at"),
)

claims = Table(
    "claims",  # whoever ends something that waits inserts its row first; the first wins
    metadata,
    Column("waiting", Uuid, primary_key=True),  # the held event, or the dead letter
    Column("by", String(32), nullable=False),
    Column("at", Instant, nullable=False),
)

halts = Table(
    "halts",  # groups that stopped because nearly all their records were bad
    metadata,
    Column("group", String(64), primary_key=True),
    Column("at", Instant, nullable=False),
)

positions = Table(
    "positions",  # how far each group and source has come in the log, at least: `relay.log.marks`
    metadata,
    Column("group", String(249), primary_key=True),
    Column("topic", String(249), primary_key=True),
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("next", BigInteger, nullable=False),
    Column("beside", BigInteger, nullable=False, server_default="0"),  # the offset of `note`
    Column("done", Integer, nullable=False, server_default="0"),  # how many beyond it are
    Column("note", Text, nullable=False, server_default=""),  # which
)

erasures = Table(
    "erasures",  # persons whose key was destroyed, and how far the rest has come
    metadata,
    Column("person", Uuid, primary_key=True),
    Column("destroyed_at", Instant, nullable=False),
    Column("by", Uuid, nullable=False),  # the person who asked for it
    Column("master", String(16)),  # whose wrapped copies of the key may lie in backups
    Column("certificate", JSON),  # once everything is gone
)

erased_objects = Table(
    "erased_objects",  # written down before they are deleted, so that a death forgets none
    metadata,
    Column("person", Uuid, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("sha256", String(64), nullable=False),
    Column("size", BigInteger, nullable=False),
)

accounts = Table(
    "accounts",  # who signs in as somebody; a person known by an address alone has none
    metadata,
    Column("person", Uuid, primary_key=True),
    Column("role", String(16), nullable=False),
    Column("sealed", JSON, nullable=False),  # personal values, each sealed under the person's key
    Column("created_at", Instant, nullable=False),
)

sessions = Table(
    "sessions",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("person", Uuid, nullable=False),
    Column("role", String(16), nullable=False),
    Column("refresh", LargeBinary, nullable=False),  # hash of the refresh token that is good now
    Column("former", LargeBinary),  # of the one before: whoever still has it may have stolen it
    Column("refreshed_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("revoked_at", Instant),
    Index(None, "person"),
    Index(None, "expires_at"),
)

sign_in_links = Table(
    "sign_in_links",
    metadata,
    Column("hash", LargeBinary, primary_key=True),
    Column("person", Uuid, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("used_at", Instant),
)

token_keys = Table(
    "token_keys",  # which secrets sign tokens; the secrets themselves lie wrapped in `secrets`
    metadata,
    Column("kid", String(16), primary_key=True),
    Column("number", Integer, nullable=False, unique=True),
    Column("created_at", Instant, nullable=False),
    Column("ends_at", Instant),  # null: signs, or at least verifies, until it is retired
)

access_keys = Table(
    "access_keys",  # of servers; the key itself was shown once and is kept nowhere
    metadata,
    Column("id", String(16), primary_key=True),
    Column("person", Uuid, nullable=False),
    Column("name", String(100), nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("role", String(16), nullable=False),
    Column("scopes", JSON, nullable=False),
    Column("limits", JSON, nullable=False),  # those that differ from everybody's
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant),
    Column("revoked_at", Instant),
    Index(None, "person"),
)

webhooks = Table(
    "webhooks",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("person", Uuid, nullable=False),
    Column("sealed", JSON, nullable=False),  # its address, under the person's key
    Column("states", JSON, nullable=False),  # that it wants to be told of
    Column("created_at", Instant, nullable=False),
    Column("failures", Integer, nullable=False),  # in a row
    Column("rests_until", Instant),
    Column("disabled_at", Instant),
    Column("disabled_for", String(16)),
    Index(None, "person"),
)

notice_tries = Table(
    "notice_tries",
    metadata,
    Column("notice", Uuid, primary_key=True),  # the due row's id
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("receiver", Uuid, nullable=False),
    Column("job", Uuid, nullable=False),
    Column("at", Instant, nullable=False),
    Column("outcome", String(32), nullable=False),
    Column("status", Integer),
    Index(None, "receiver", "at"),
    Index(None, "at"),
)

wechat_tokens = Table(
    "wechat_tokens",  # of WeChat's API, one for each mini-program, shared by all processes
    metadata,
    Column("app", String(64), primary_key=True),
    Column("sealed", LargeBinary, nullable=False),  # under a secret of the site
    Column("expires_at", Instant, nullable=False),
)

uploads = Table(
    "uploads",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("person", Uuid, nullable=False),
    Column("length", BigInteger),  # null: not known yet
    Column("taken", BigInteger, nullable=False),  # bytes that its parts hold
    Column("pieces", Integer, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Index(None, "person"),
    Index(None, "expires_at"),
)

upload_parts = Table(
    "upload_parts",
    metadata,
    Column("upload", Uuid, primary_key=True),
    Column("start", BigInteger, primary_key=True, autoincrement=False),
    Column("key", Text, nullable=False, unique=True),  # of the object
)

voices = Table(
    "voices",  # a revoked one stays, so that whoever asks for it is told
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("person", Uuid, nullable=False),
    Column("sealed", JSON, nullable=False),  # name and consent, under the person's key
    Column("of", String(16), nullable=False),  # whose voice it is
    Column("language", String(35)),
    Column("recording", JSON, nullable=False),  # `schemas.events.Recording`
    Column("created_at", Instant, nullable=False),
    Column("revoked_at", Instant),
    Index(None, "person"),
)

voice_shares = Table(
    "voice_shares",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("voice", Uuid, nullable=False),
    Column("person", Uuid),  # who may use it; null until somebody has shown the code
    Column("hash", LargeBinary),  # of the code, while it is good
    Column("scopes", JSON, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant),
    Index(None, "voice"),
    Index(None, "person"),
)
