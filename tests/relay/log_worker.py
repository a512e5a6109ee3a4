"""A process of its own that echoes one topic into another: `python -m tests.relay.log_worker`."""

import asyncio
import signal
import sys
from pathlib import Path

from relay.errors import Fenced, OutcomeUnknown
from relay.log.port import Claim, Committed, Log, Message
from relay.log.sqlite import SqliteLog
from relay.settings import Settings


def open_log_at(spec: str, first_offset: float = 10.0) -> Log:
    """`sqlite:PATH`, `kafka:HOST:PORT` or `settings:JSON` of Kafka, with the shortest sessions."""
    kind, _, place = spec.partition(":")
    if kind == "sqlite":
        return SqliteLog(Path(place), session=4.0)
    from relay.log.kafka import KafkaLog
    from relay.log.kafka.timing import Timing

    timing = Timing(session=6.0, heartbeat=1.0, metadata=2.0, first_offset=first_offset)
    if kind == "settings":
        return KafkaLog(Settings.model_validate_json(place), timing)
    return KafkaLog(Settings(log=f"kafka://{place}"), timing)


class Echo:
    """Answers nothing by itself: claims are answered where they are polled."""

    async def assigned(self, claim: Claim) -> None:
        """Nothing to prepare."""

    async def revoked(self, claim: Claim) -> None:
        """Nothing is waiting."""


async def work(spec: str, group: str, source: str, target: str) -> None:
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    log = open_log_at(spec)
    consumer = await log.join(group, [source], Echo())
    print("joined", flush=True)
    while not stopping.is_set():
        for claim, records in (await consumer.poll(0.2)).items():
            echoes = [Message(target, r.key, r.value, r.headers) for r in records]
            try:
                await claim.commit(Committed(records[-1].offset + 1, "done"), echoes)
            except (Fenced, OutcomeUnknown):
                await consumer.reclaim(claim)
    await consumer.close()
    await log.close()


if __name__ == "__main__":
    asyncio.run(work(*sys.argv[1:]))
