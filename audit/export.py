"""Taking hours of the log out as a bundle that proves itself.

Knows the order: hours one after another, each with records, index and signed root; then objects,
what was published of the roots, keys and the manifest. Opens nothing: personal fields stay sealed,
and erasing a person erases them here, too. Refuses hours that have not closed.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from pydantic_core import from_json

from audit.bundle import (
    OBJECTS_NAME,
    PUBLISHED_NAME,
    Writer,
    document,
    index_name,
    records_name,
    root_name,
)
from audit.merkle import START, link
from audit.merkle import leaf as leaf_of
from audit.reading import Eyes
from audit.roots import Hour, Root, read_hour
from audit.signing import ROOT, Signer
from audit.trail import named
from relay.errors import BadRecord, Misconfigured
from relay.spine import Spine
from schemas.envelope import format_time
from schemas.events import AuditRootPublished
from schemas.topics import topic_of

Told = Callable[[Root], None]


@dataclass(frozen=True, slots=True)
class Exported:
    """What came of an export."""

    path: Path
    hours: int
    records: int
    objects: int
    chain: str
    key: str

    @property
    def told(self) -> dict[str, Any]:
        """The same as JSON."""
        return {
            name: str(v) if isinstance(v := getattr(self, name), Path) else v
            for name in self.__slots__
        }


async def export(
    spine: Spine,
    signer: Signer,
    wanted: Sequence[datetime],
    target: Path,
    *,
    objects: bool = False,
    tell: Told = lambda _: None,
) -> Exported:
    """Write the hours `wanted` into `target`, which must not exist."""
    if not wanted:
        raise Misconfigured(
            "no hour of that time has closed: one closes five minutes after its end"
        )
    site = spine.settings.site
    chain, told, keys = START, list[dict[str, Any]](), dict[str, str | None]()
    with Writer(target) as writer:
        for start in wanted:
            async with read_hour(spine.log, start) as hour:
                chain = _hour(writer, hour, chain)
                if objects:
                    keys.update(_named(line for _, line in hour.records()))
                root = hour.root(site)
            writer.add_bytes(root_name(start), document(_signed(root, signer)))
            told.append(_facts(root, chain))
            tell(root)
        published = [each async for each in _published(spine, wanted)]
        writer.add_bytes(PUBLISHED_NAME, b"".join(map(document, published)))
        listed = [each async for each in _objects(spine, writer, keys)] if objects else []
        if objects:
            writer.add_bytes(OBJECTS_NAME, b"".join(map(document, listed)))
        records = sum(each["records"] for each in told)
        facts = {"site": site, "records": records, "chain": chain.hex(), "hours": told}
        writer.finish(signer, facts)
    return Exported(target, len(told), records, len(listed), chain.hex(), signer.public)


def _hour(writer: Writer, hour: Hour, chain: bytes) -> bytes:
    """Write an hour's records and their index; the chain, so much longer."""
    with TemporaryFile() as lines, TemporaryFile() as index:
        for name, line in hour.records():
            leaf = leaf_of(line)
            chain = link(chain, leaf)
            lines.write(line + b"\n")
            index.write(document([leaf.hex(), *name.place, name.id]))
        writer.add(records_name(hour.start), lines)
        writer.add(index_name(hour.start), index)
    return chain


def _signed(root: Root, signer: Signer) -> dict[str, str]:
    statement = root.statement
    signature = signer.sign(ROOT, statement.encode())
    return {"statement": statement, "key": signer.public, "signature": signature}


async def _published(spine: Spine, wanted: Sequence[datetime]) -> AsyncIterator[dict[str, str]]:
    """What the log said of these hours when they closed."""
    async for record in spine.log.read([topic_of(AuditRootPublished)], wanted[0]):
        event = (await Eyes(None).see(record)).event
        if isinstance(event, AuditRootPublished) and event.hour in wanted:
            yield {"statement": event.statement, "key": event.key, "signature": event.signature}


def _facts(root: Root, chain: bytes) -> dict[str, Any]:
    return {
        "hour": format_time(root.hour),
        "records": root.records,
        "root": root.root,
        "chain": chain.hex(),
    }


def _named(records: Iterable[bytes]) -> Iterator[tuple[str, str | None]]:
    """Keys of objects that events name, with the hash that they are said to have."""
    for line in records:
        value = json.loads(line)["value"]
        try:
            yield from named(from_json(value))  # which refuses what is nested without end
        except (ValueError, TypeError):
            continue  # a dead letter may be anything


async def _objects(
    spine: Spine, writer: Writer, keys: dict[str, str | None]
) -> AsyncIterator[dict[str, Any]]:
    """Write each object once, by its hash; what is told of each key."""
    written = set[str]()
    for key, said in keys.items():
        try:
            data = await spine.store.get(key)
        except BadRecord:  # it is gone, or its name is none: a dead letter may say anything
            yield {"key": key, "said": said, "sha256": None}
            continue
        digest = sha256(data).hexdigest()
        if digest not in written:
            writer.add_bytes(f"objects/{digest}", data)
            written.add(digest)
        yield {"key": key, "said": said, "sha256": digest}
