"""Feeding the log from one shard of the outbox.

Knows one step: open the source, number what was committed, append what lies beyond the source's
position. Whatever goes wrong, the source is opened anew and its position, which the log keeps in
the transaction that appends, tells what is true. Refuses to know who else holds which shard.
"""

from __future__ import annotations

import contextlib
from contextlib import AsyncExitStack

from relay.errors import Fenced, Misconfigured, OutcomeUnknown, Unavailable
from relay.log.port import Log, Source
from relay.retry import until_available
from relay.sql import shards
from relay.sql.database import Database, Transaction
from relay.sql.leases import Lease
from relay.sql.shards import Batch
from relay.telemetry import Health

BATCH = 500
"""Most messages in one append."""


def signal_name(shard: int) -> str:
    """The signal of this process that says: something was put aside in `shard`."""
    return f"outbox-{shard}"


class Feed:
    """Publishes one leased shard until `stop`, or until another holds the lease."""

    def __init__(
        self, lease: Lease, source: str, database: Database, log: Log, health: Health
    ) -> None:
        """`source` is the log's source that feeds on the leased shard."""
        self._lease, self._name, self._health = lease, source, health
        self._database, self._log = database, log
        self._wake = database.signal(signal_name(lease.shard))
        self._stopping = False
        self._source: Source | None = None
        self._opened = AsyncExitStack()

    @property
    def shard(self) -> int:
        """Which shard it is."""
        return self._lease.shard

    def stop(self) -> None:
        """End `run` after the step under way."""
        self._stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Publish. Returns when stopped or fenced, the lease given back."""
        try:
            while not self._stopping:
                self._wake.clear()
                if not await until_available(self._try, self._name, self._health):
                    await self._wake.wait()
        except Fenced:
            return
        finally:
            await self._shut()
        await until_available(
            lambda: self._database.run(lambda tx: shards.release(tx, self._lease)),
            self._name,
            self._health,
        )

    async def _try(self) -> bool:
        with self._health.expecting(self._name):
            return await self._step()

    async def _step(self) -> bool:
        """Publish a batch; False where nothing was left. Every error closes the source."""
        try:
            return await self._publish()
        except (Unavailable, OutcomeUnknown) as error:
            await self._shut()
            raise Unavailable(f"{self._name}: {error}") from error
        except Fenced as error:
            await self._shut()
            # Still our lease? Then a holder of old, late to notice, took the source for a moment.
            await self._database.run(lambda tx: shards.counter(tx, self._lease))
            raise Unavailable(f"{self._name}: fenced by a former holder") from error

    async def _publish(self) -> bool:
        if self._source is None:
            self._source = await self._opened.enter_async_context(self._log.source(self._name))
        published = self._source.position
        batch = await self._database.run(lambda tx: self._next(tx, published))
        if batch is None:
            return False
        await self._source.append(batch.messages, batch.position)
        return True

    async def _next(self, tx: Transaction, published: int) -> Batch | None:
        last = await shards.counter(tx, self._lease)
        if published > last:
            raise Misconfigured(
                f"{self._name}: the log has taken {published} messages from a database that has "
                f"numbered {last}: the database was restored from a backup older than the log, "
                "or is another log's. Restore the newest backup, or start with an empty log"
            )
        batch = await shards.advance(tx, self._lease, last, published, BATCH)
        if batch is not None and batch.position - len(batch.messages) != published:
            raise Misconfigured(
                f"{self._name}: the log says it has taken {published} messages, and the database "
                f"has forgotten all before {batch.position - len(batch.messages) + 1}, since the "
                "log had: it has lost our position, or is another log. docs/reliability.md says "
                "how to go on"
            )
        return batch

    async def _shut(self) -> None:
        self._source = None
        opened, self._opened = self._opened, AsyncExitStack()
        with contextlib.suppress(Unavailable, Fenced, OutcomeUnknown):
            await opened.aclose()  # whatever it left open, the next holder settles
