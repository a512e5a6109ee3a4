"""An edge and its cluster, both of embedded parts: what crosses the line is the same."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from uuid import UUID, uuid4

from infra.topics import partitions
from relay.bridge.down import Down
from relay.bridge.up import Up
from relay.codec import encode
from relay.handover import Recipient
from relay.log.port import Log, Message, Record
from relay.log.sqlite import SqliteLog
from relay.objects.disk import DiskStore
from relay.objects.port import ObjectStore
from relay.outbox import SOURCES
from relay.settings import Settings
from relay.sql.database import Database
from relay.sql.keys import SqlKeyStore, open_keys
from relay.sql.open import open_database
from schemas.envelope import Head
from schemas.events import Event, PromptUploaded, Recording
from schemas.topics import topic_of

SITE = "voxrelay://shop-1"
FEED = "feed"


@dataclass
class Side:
    """One end of the line."""

    settings: Settings
    log: Log
    database: Database
    keys: SqlKeyStore
    objects: ObjectStore

    async def receives(self, *messages: Message) -> list[Record]:
        """Append to the log; all it holds in the topics of `messages`."""
        async with self.log.source(FEED) as source:
            await source.append(messages, source.position + 1)
        return [record async for record in self.log.read(list({m.topic for m in messages}))]

    async def person(self) -> UUID:
        """Somebody with a key here."""
        person = uuid4()
        async with self.database.transaction() as tx:
            await self.keys.create(tx, person)
        return person

    async def erase(self, person: UUID) -> None:
        """Destroy the person's key."""
        async with self.database.transaction() as tx:
            await self.keys.destroy(tx, person)


@asynccontextmanager
async def side(folder: Path) -> AsyncIterator[Side]:
    """A log, a store and a database in `folder`."""
    async with AsyncExitStack() as stack:
        settings = Settings(data=folder, site=SITE)
        database = await open_database(settings)
        stack.push_async_callback(database.close)
        log = SqliteLog(folder / "log.db")
        stack.push_async_callback(log.close)
        await log.apply(partitions(settings), {}, [FEED, *SOURCES])
        objects = DiskStore(folder / "objects")
        yield Side(settings, log, database, open_keys(settings, database, objects), objects)


async def up_of(edge: Side, cluster: Side) -> Up:
    """What carries a job's cargo from one to the other."""
    recipient = Recipient.read(str((await cluster.keys.receiver()).recipient))
    return Up(edge.database, edge.keys, edge.objects, cluster.objects, recipient)


def down_of(edge: Side, cluster: Side) -> Down:
    """What fetches the cargo of an outcome."""
    return Down(SITE, edge.keys, edge.objects, cluster.objects)


async def accepted(
    edge: Side, person: UUID, text: str = "你好", sound: bytes = b"sound"
) -> Message:
    """The first event of a job of `person`, its recording in the edge's store."""
    digest = sha256(sound).hexdigest()
    recording = Recording(
        key=f"recording/{person}/{digest}",
        sha256=digest,
        seconds=3,
        sample_rate=16000,
        container="wav",
        codec="pcm_s16le",
    )
    await edge.objects.put(recording.key, sound, "audio/flac")
    event = PromptUploaded(text=text, recording=recording, door="jobs")
    return await told(edge, person, event)


async def told(at: Side, person: UUID, event: Event, site: str = SITE) -> Message:
    """`event` of a new job of `person`, sealed with the key that `at` has."""
    head = Head(uuid4(), event.TYPE, site, at.database.now(), person, str(uuid4()))
    message = encode(event, head, await at.keys.key(person))
    assert message.topic == topic_of(event)
    return message
