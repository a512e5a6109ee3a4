"""How we speak to the brokers: clients made, started and stopped in one way, and small questions.

Knows addresses, security and time limits. Refuses to know what clients are used for.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import KafkaConnectionError, KafkaError

from relay.errors import Misconfigured
from relay.log.kafka.failures import SOON, translate, translating
from relay.log.kafka.offsets import Offsets
from relay.log.kafka.timing import Timing
from relay.log.marks import Marks
from relay.log.port import LONGEST
from relay.settings import Settings

log = logging.getLogger(__name__)

Client: TypeAlias = AIOKafkaProducer | AIOKafkaConsumer | AIOKafkaAdminClient

_BATCH_BYTES = 512 * 1024  # what one commit sends to a partition goes in one request
_ASK_AGAIN = 0.1
_FETCH_WAIT_MS = 50  # a partition resumed in mid-fetch waits for so long


class Link:
    """The way to one cluster; made without any I/O but reading the CA file."""

    def __init__(
        self,
        bootstrap: str,
        security: Mapping[str, Any],
        timing: Timing,
        marks: Marks | None = None,
    ) -> None:
        self.timing = timing
        self.offsets = Offsets(self.ask, timing, marks)
        self._security = dict(security)
        self._bootstrap = bootstrap.split(",")
        self._admin: AIOKafkaAdminClient | None = None
        self._admin_turn = asyncio.Lock()
        self._leaving: set[asyncio.Task[None]] = set()

    @classmethod
    def of(cls, settings: Settings, timing: Timing, marks: Marks | None = None) -> Link:
        """The way to the cluster that `settings` name; `Misconfigured` where they cannot be."""
        return cls(settings.log.removeprefix("kafka://"), security_of(settings), timing, marks)

    def producer(self, transactional_id: str) -> AIOKafkaProducer:
        """A transactional producer, not started; to start it fences whoever had its id."""
        producer = AIOKafkaProducer(
            **self._common(10 * self.timing.metadata),  # there are many, each told of all topics
            transactional_id=transactional_id,
            transaction_timeout_ms=_ms(self.timing.transaction),
            request_timeout_ms=_ms(self.timing.request),
            retry_backoff_ms=5,  # it also sleeps so long between back-to-back transactions
            max_batch_size=_BATCH_BYTES,
            max_request_size=LONGEST,
            connections_max_idle_ms=_ms(self.timing.idle),
        )
        _calm(producer)
        return producer

    def consumer(self, group: str | None = None) -> AIOKafkaConsumer:
        """A consumer of committed records only, not started; it never commits by itself."""
        timing = self.timing
        return AIOKafkaConsumer(
            **self._common(self.timing.metadata),
            group_id=group,
            isolation_level="read_committed",
            enable_auto_commit=False,
            # A member is told where to begin; without a group there is nothing to lose.
            auto_offset_reset="none" if group else "earliest",
            retry_backoff_ms=100 if group else 20,  # it sleeps so long before it knows a leader
            session_timeout_ms=_ms(timing.session),
            heartbeat_interval_ms=_ms(timing.heartbeat),
            rebalance_timeout_ms=_ms(timing.rebalance),
            max_poll_interval_ms=_ms(timing.unpolled),
            # A join is answered when the last member has joined, so not before a rebalance ends.
            request_timeout_ms=_ms(timing.request + timing.rebalance),
            fetch_max_wait_ms=_FETCH_WAIT_MS,
        )

    async def start(self, client: Client) -> None:
        """Start `client`, or stop it and say why it will not: `Unavailable`, `Misconfigured`."""
        try:
            async with asyncio.timeout(self.timing.start):
                await client.start()
        except KafkaConnectionError as error:
            await self.stop(client)
            await self._find_out_why()
            raise translate(error) from error
        except (KafkaError, OSError) as error:
            await self.stop(client)
            raise translate(error) from error
        except BaseException:  # cancelled: the client must not live on
            self.abandon(client)
            raise

    async def stop(self, client: Client) -> None:
        """Stop `client` within bounds: aiokafka's own stop waits for ever for a lost broker."""
        stop = client.close if isinstance(client, AIOKafkaAdminClient) else client.stop
        try:
            async with asyncio.timeout(self.timing.stop):
                await stop()
        except (KafkaError, OSError) as error:
            log.warning("A Kafka client did not stop cleanly: %s", type(error).__name__)
            await _cut(client)

    def abandon(self, client: Client) -> None:
        """Stop `client` behind our back; `close` waits for it."""
        task = asyncio.get_running_loop().create_task(self.stop(client))
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def close(self) -> None:
        """Stop everything that this link itself has started."""
        await self._drop_admin()
        if self._leaving:
            await asyncio.wait(self._leaving)

    async def admin(self) -> AIOKafkaAdminClient:
        """The client for questions and set-up, started."""
        async with self._admin_turn:
            if self._admin is None:
                common = self._common(self.timing.metadata)
                admin = AIOKafkaAdminClient(**common, request_timeout_ms=_ms(self.timing.request))
                await self.start(admin)
                self._admin = admin
            return self._admin

    async def ask(self, question: str, *args: Any, **kwargs: Any) -> Any:
        """What the admin client's method `question` answers.

        Asked again, within bounds, while the broker says that it will know soon. A client that
        failed otherwise is not used again.
        """
        admin = await self.admin()
        try:
            async with asyncio.timeout(self.timing.request):
                while True:
                    try:
                        return await getattr(admin, question)(*args, **kwargs)
                    except SOON:
                        await asyncio.sleep(_ASK_AGAIN)
        except (KafkaError, OSError) as error:
            if self._admin is admin:
                await self._drop_admin()
            raise translate(error) from error

    async def counts(self) -> dict[str, int]:
        """How many partitions each topic that we may see has."""
        topics = await self.ask("describe_topics")
        return {t["topic"]: len(t["partitions"]) for t in topics if t["partitions"]}

    async def partitions(self, topics: Iterable[str]) -> list[TopicPartition]:
        """All partitions of `topics`; `Misconfigured` where one is missing."""
        counts = await self.counts()
        wanted = list(topics)
        missing = sorted(set(wanted) - counts.keys())
        if missing:
            raise Misconfigured(
                f"Kafka has no topic {', '.join(missing)} that we may see: "
                "run `voxrelay topics apply`"
            )
        return [TopicPartition(topic, n) for topic in wanted for n in range(counts[topic])]

    def _common(self, metadata: float) -> dict[str, Any]:
        return {
            "bootstrap_servers": self._bootstrap,
            "metadata_max_age_ms": _ms(metadata),
            **self._security,
        }

    async def _find_out_why(self) -> None:
        """Raise what a connection says itself: aiokafka's bootstrap only logs it."""
        for host, port, _ in collect_hosts(self._bootstrap):
            with translating():
                line = await create_conn(
                    host, port, request_timeout_ms=_ms(self.timing.request), **self._security
                )
                await line.close()

    async def _drop_admin(self) -> None:
        admin, self._admin = self._admin, None
        if admin is not None:
            await self.stop(admin)


def security_of(settings: Settings) -> dict[str, Any]:
    """aiokafka's options for what the settings say; `Misconfigured` where the CA is no CA."""
    options: dict[str, Any] = {"security_protocol": settings.kafka_security.value}
    if "SSL" in settings.kafka_security.value.split("_"):
        try:
            options["ssl_context"] = ssl.create_default_context(cafile=settings.kafka_ca_file)
        except OSError as error:  # ssl.SSLError is one
            raise Misconfigured(f"VOXRELAY_KAFKA_CA_FILE cannot be used: {error}") from None
    if settings.kafka_security.value.startswith("SASL") and settings.kafka_password is not None:
        options["sasl_mechanism"] = settings.kafka_sasl_mechanism
        options["sasl_plain_username"] = settings.kafka_username
        options["sasl_plain_password"] = settings.kafka_password.get_secret_value()
    return options


def _calm(producer: AIOKafkaProducer) -> None:
    """Let a broker that is away be knocked at ten times a second, not two hundred times.

    aiokafka has one pause for two things: the markers of the last transaction, which take a few
    milliseconds, and a broker that does not answer.
    """
    ready = producer.client.ready

    async def ready_or_pause(*args: Any, **kwargs: Any) -> bool:
        if await ready(*args, **kwargs):
            return True
        await asyncio.sleep(_ASK_AGAIN)
        return False

    producer.client.ready = ready_or_pause


async def _cut(client: Client) -> None:
    """Close the connections of a client whose own stop gave up before it came to them."""
    if isinstance(client, AIOKafkaConsumer) and client._fetcher is not None:
        await client._fetcher.close()
    await (client.client if isinstance(client, AIOKafkaProducer) else client._client).close()


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
