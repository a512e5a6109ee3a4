"""A broker that tests may kill, and that forgets within seconds what others keep for a week."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from infra.servers.kafka import KafkaServer


class ForgetfulKafka(KafkaServer):
    """Drops the ids of producers that were idle for two seconds (a week, usually)."""

    def _properties(self) -> str:
        return super()._properties() + (
            "transactional.id.expiration.ms=2000\n"
            "transaction.remove.expired.transaction.cleanup.interval.ms=200\n"
            "producer.id.expiration.ms=2000\n"
            "producer.id.expiration.check.interval.ms=200\n"
        )


class Mortal:
    """A broker of our own, to be killed."""

    def __init__(self, server: KafkaServer) -> None:
        self.bootstrap = server.bootstrap
        self.kill = server.kill
        self._server = server
        self._hands = ThreadPoolExecutor(1)  # a server ends with the thread that started it

    async def start(self) -> None:
        await asyncio.wrap_future(self._hands.submit(self._server.start))
