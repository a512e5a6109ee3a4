"""The tables of what people make of jobs that have ended: remarks on them, and pages shared.

Knows columns and what must be unique. Refuses to know who writes them.
"""

from __future__ import annotations

from sqlalchemy import JSON, Boolean, Column, Index, LargeBinary, String, Table, Uuid

from relay.sql.schema import metadata as metadata
from relay.sql.types import Instant

remarks = Table(
    "remarks",
    metadata,
    Column("id", Uuid, primary_key=True),  # of its event
    Column("job", Uuid, nullable=False),
    Column("person", Uuid, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("said", JSON, nullable=False),  # what of it is not personal
    Column("sealed", JSON, nullable=False),  # the note, under its person's key
    Column("at", Instant, nullable=False),
    Column("deadline", Instant),  # by when a person has to look; null: nobody has to
    Column("closed_at", Instant),
    Column("upheld", Boolean),
    Index(None, "job"),
    Index(None, "person"),
    Index(None, "closed_at", "kind", "at"),
)

shared_pages = Table(
    "shared_pages",  # pages that show a job's speech to whoever has the address
    metadata,
    Column("job", Uuid, primary_key=True),
    Column("person", Uuid, nullable=False),
    Column("nonce", LargeBinary, nullable=False),  # the address follows from it, with a secret
    Column("hash", LargeBinary, nullable=False, unique=True),  # of the address
    Column("expires_at", Instant, nullable=False),
    Index(None, "person"),
)
