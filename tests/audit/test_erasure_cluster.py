"""Who is erased is in no segment of Kafka and no page of PostgreSQL, as they lie on their disks."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import select

from audit.erasure import begin
from infra.servers import ToolMissing, kafka, postgres
from relay.codec import head_of
from relay.settings import Settings
from relay.spine import Spine, open_spine
from relay.sql import schema
from tests.audit.relay import TEXTS, address_of, running
from tests.audit.relay import until as comes_to
from tests.audit.test_erasure import MINE, post, until_certified, voice
from tests.servers import unavailable
from voxrelay.up import prepare


@dataclass(frozen=True)
class Disks:
    """Where the servers keep their data, and how the database is spoken to."""

    kafka: Path
    postgres: Path
    url: str

    def segments(self, needles: Mapping[str, bytes]) -> set[str]:
        """Those that lie in a segment of a partition."""
        return found(self.kafka.rglob("*.log"), needles)

    def pages(self, needles: Mapping[str, bytes]) -> set[str]:
        """Those that lie in a table or an index, dead rows and all."""
        self._say("checkpoint")
        return found(self.postgres.rglob("base/*/*"), needles)

    def anywhere(self, needles: Mapping[str, bytes]) -> set[str]:
        """Those that lie in any file of the database, its write-ahead log among them."""
        self._say("checkpoint")
        return found(self.postgres.rglob("*"), needles)

    def vacuum(self) -> None:
        """Give dead rows up, as PostgreSQL does by and by."""
        self._say("vacuum full")

    def _say(self, words: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as line:
            line.execute(words)  # type: ignore[arg-type]


def found(files: Iterable[Path], needles: Mapping[str, bytes]) -> set[str]:
    """Names of those needles that lie in any of the files."""
    assert all(len(needle) >= 9 for needle in needles.values())
    names = set[str]()
    for file in files:
        if file.is_file():
            data = file.read_bytes()
            names |= {name for name, needle in needles.items() if needle in data}
    return names


@contextmanager
def servers(folder: Path) -> Iterator[tuple[Settings, Disks]]:
    """A broker and a database of one's own, and the settings of a relay on them."""
    folder.mkdir()
    key = folder / "master.key"
    key.touch(mode=0o600)
    key.write_text("17" * 32)
    try:
        # Not pytest's folder: PostgreSQL may be somebody else, and nobody else may enter that.
        with (
            tempfile.TemporaryDirectory(prefix="voxrelay-", ignore_cleanup_errors=True) as pg,
            kafka(folder / "kafka") as broker,
        ):
            Path(pg).chmod(0o755)
            with postgres(Path(pg)) as database:
                log = f"kafka://{broker.bootstrap}"
                more = {"log": log, "sql": database.url, "partitions": 1, "master_key_file": key}
                settings = Settings(data=folder / "data", **more)
                yield settings, Disks(broker.folder, database.folder, database.url)
    except ToolMissing as lacking:
        unavailable(str(lacking))


@asynccontextmanager
async def lived(settings: Settings) -> AsyncIterator[tuple[Spine, str]]:
    """A relay at work, and a job of `MINE` that it has delivered."""
    await prepare(settings)
    async with open_spine(settings) as spine, running(spine) as client:
        job = str((await post(client, TEXTS[MINE], voice())).json()["job_id"])
        await comes_to(client, MINE, job, "delivered")
        yield spine, job


@pytest.mark.timeout(300)
async def test_who_is_erased_lies_in_no_segment_and_no_page(tmp_path: Path) -> None:
    with servers(tmp_path / "cluster") as (settings, disks):
        async with lived(settings) as (spine, job):
            (first,) = [r async for r in spine.log.read(["prompt-uploaded"], key=job)]
            person = head_of(first).person
            async with spine.database.reading() as tx:
                mine = schema.person_keys.c.person == person
                wrapped = (await tx.execute(select(schema.person_keys.c.wrapped).where(mine))).one()
            known = {"person": str(person).encode(), "event": first.value}
            text, address = TEXTS[MINE], address_of(MINE)
            words = {
                "text": text.encode(),
                "text in JSON": json.dumps(text)[1:-1].encode(),
                "address": address.encode(),
            }
            secrets = {"key": bytes(wrapped[0]), "idempotency key": b"number-of-my-flat"}
            assert disks.segments(known | words) == known.keys(), "they can be searched"
            assert disks.pages(secrets | words) == secrets.keys(), "so can they"

            await begin(spine.database, spine.keys, settings.site, person, "rita")
            await until_certified(spine, person)
            await asyncio.to_thread(disks.vacuum)  # it waits for transactions of this very loop
            assert disks.segments(known | words) == known.keys(), "sealed under a key that is gone"
            assert disks.pages(secrets | words) == set()
            assert disks.anywhere(words) == set()
