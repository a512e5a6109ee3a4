"""One member of a group on Kafka: polls, and what the client does not say by itself.

Knows fetched records and the claims they belong to. Refuses to know how claims come and go.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import NoOffsetForPartitionError, OffsetOutOfRangeError

from relay.errors import Misconfigured, RelayError, Unavailable
from relay.log.kafka.claims import Claims, KafkaClaim
from relay.log.kafka.failures import translating
from relay.log.kafka.link import Link
from relay.log.kafka.records import to_record
from relay.log.port import Claim, Member, Record

_MOST_RECORDS = 512


class KafkaConsumer:
    """A member: its claims, and the fetch that may outlast a poll."""

    def __init__(self, link: Link, group: str, kafka: AIOKafkaConsumer, member: Member) -> None:
        self._link = link
        self._group = group
        self._kafka = kafka
        self._claims = Claims(link, group, kafka, member)
        self._fetching: asyncio.Task[dict[KafkaClaim, list[Record]]] | None = None
        self._clock = asyncio.get_running_loop().time
        self._heard = self._clock()
        self._closed = False

    def subscribe(self, topics: Sequence[str]) -> None:
        """Begin to be a member; partitions come when the group says so."""
        self._kafka.subscribe(topics=list(topics), listener=self._claims)

    async def poll(self, max_wait: float) -> Mapping[Claim, Sequence[Record]]:
        """Records per claim; raises what a callback or an opening raised, and then for ever."""
        deadline = self._clock() + max_wait
        found = await self._poll(max_wait)
        while not found and (left := deadline - self._clock()) > 0:
            found = await self._poll(left)
        if not found:
            self._demand_coordinator()
        return found

    def demand_claims(self) -> None:
        self._claims.demand_opened()

    async def reclaim(self, claim: Claim) -> KafkaClaim | None:
        return await self._claims.reclaim(claim) if isinstance(claim, KafkaClaim) else None

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            await self._claims.close()
        finally:
            if self._fetching is not None:
                self._fetching.cancel()
                await asyncio.wait({self._fetching})
            await self._link.stop(self._kafka)
            if self._claims.failed.done():
                self._claims.failed.exception()  # or asyncio complains that nobody asked

    async def _poll(self, max_wait: float) -> Mapping[Claim, Sequence[Record]]:
        """One look. A fetch that outlasts its poll goes on, and the next poll has its records."""
        failed = self._claims.failed
        if self._fetching is None and not failed.done():
            self._fetching = asyncio.create_task(self._fetch(max_wait))
        waited = {task for task in (self._fetching, failed) if task is not None}
        await asyncio.wait(waited, timeout=max_wait, return_when=asyncio.FIRST_COMPLETED)
        if failed.done():
            failed.result()
        if self._fetching is None or not self._fetching.done():
            return {}
        fetching, self._fetching = self._fetching, None
        batch = fetching.result().items()
        ours: dict[Claim, Sequence[Record]] = {c: r for c, r in batch if self._claims.holds(c)}
        return ours

    async def _fetch(self, max_wait: float) -> dict[KafkaClaim, list[Record]]:
        """What aiokafka has; bound to its claims before anybody else can run."""
        try:
            self._demand_life()
            with translating():
                found = await self._kafka.getmany(
                    timeout_ms=round(max_wait * 1000), max_records=_MOST_RECORDS
                )
        except RelayError as error:
            self._demand_life()
            return self._explain(error)
        delivering = self._claims.delivering
        return {
            delivering[place]: [to_record(record) for record in records]
            for place, records in found.items()
            if place in delivering
        }

    def _explain(self, error: RelayError) -> dict[KafkaClaim, list[Record]]:
        cause = error.__cause__
        if isinstance(cause, NoOffsetForPartitionError):
            return {}  # aiokafka looked for itself before it told us; a claim says it better
        if isinstance(cause, OffsetOutOfRangeError):
            raise Misconfigured(
                f"Group {self._group} has committed an offset that its topic does not have: the "
                "topic was made anew, or has lost its end"
            ) from cause
        raise error

    def _demand_life(self) -> None:
        """Raise if a loop of aiokafka itself has died: it says so once, and is dead for ever."""
        for task in (self._kafka._coordinator._coordination_task, self._kafka._fetcher._fetch_task):
            if task.done():
                raise RuntimeError("a loop of the Kafka client has ended") from task.exception()

    def _demand_coordinator(self) -> None:
        """Raise `Unavailable` where the group was lost sight of: aiokafka seeks it in silence."""
        if self._kafka._coordinator.coordinator_id is not None:
            self._heard = self._clock()
        elif self._clock() - self._heard > self._link.timing.request:
            raise Unavailable(f"Kafka does not answer group {self._group}")
