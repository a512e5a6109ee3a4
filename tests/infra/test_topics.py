"""Setting up the log: what there is, that twice changes nothing, and that the ACLs are enough."""

import asyncio
import contextlib
import os
import shlex
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.protocol.admin import CreateAclsRequest

from delivery.stage import Delivery
from infra import buckets, topics
from infra.servers import KafkaServer, kafka
from infra.topics import ROLES, Role
from ingest.view import View
from moderation.stage import Moderation
from relay.errors import Misconfigured
from relay.log.open import open_log
from relay.log.port import Claim, Committed, Log, Message
from relay.objects.open import open_store
from relay.settings import Settings
from schemas.topics import AFTERWARDS, DEAD, LEDGER, POSITIONS, TOPICS, topic_of
from synth.stage import Synth
from tests.servers import KafkaAddress, S3Address, unique

PARTITIONS = 2
ALL = {topic.name for topic in TOPICS}
LATER = {topic.name for topic in AFTERWARDS}
BESIDE = {topic.name for topic in LEDGER}


class Waiting:
    """A member that counts what it was given."""

    def __init__(self) -> None:
        self.claims: list[Claim] = []

    async def assigned(self, claim: Claim) -> None:
        self.claims.append(claim)

    async def revoked(self, claim: Claim) -> None:
        pass


@pytest.fixture(scope="module")
def broker(kafka_server: KafkaAddress) -> Iterator[KafkaServer]:
    """A broker of our own, since names of topics are given, with a user for each role."""
    with tempfile.TemporaryDirectory() as folder:
        users = {f"voxrelay-{role.name}": f"{role.name}-secret" for role in ROLES}
        server = kafka(Path(folder), users=users)
        try:
            server.start()
            yield server
        finally:
            server.kill()


def settings(**values: object) -> Settings:
    return Settings(partitions=PARTITIONS, **values)  # type: ignore[arg-type]


def cluster_settings(broker: KafkaServer) -> Settings:
    return settings(log=f"kafka://{broker.bootstrap}")


@contextlib.asynccontextmanager
async def opened(chosen: Settings) -> AsyncIterator[Log]:
    """A log that is closed down to its last socket: TLS says goodbye after `close` has returned."""
    before = open_sockets()
    log = open_log(chosen)
    try:
        yield log
    finally:
        await log.close()
        async with asyncio.timeout(30):
            while open_sockets() > before:  # noqa: ASYNC110 (nothing tells of it)
                await asyncio.sleep(0.01)


def open_sockets() -> int:
    """How many sockets the loop watches."""
    return len(asyncio.get_running_loop()._selector.get_map())  # type: ignore[attr-defined]


def test_every_topic_has_a_writer_and_a_reader_and_equal_partitions() -> None:
    counts = topics.partitions(settings(log="kafka://nowhere:9092"))
    assert set(counts) == ALL | LATER | set(DEAD) | BESIDE | {POSITIONS}
    assert {counts[topic] for topic in ALL | LATER | set(DEAD)} == {PARTITIONS}
    assert {counts[topic] for topic in BESIDE | {POSITIONS}} == {1}
    assert {topic for role in ROLES for topic in role.writes} == ALL | LATER | BESIDE
    assert set(topics.groups()["view"]) == ALL | set(DEAD)


@pytest.mark.parametrize("stage", [Moderation, Synth, Delivery, View])
def test_the_table_says_what_each_stage_reads(
    stage: type[Moderation | Synth | Delivery | View],
) -> None:
    reads = {topic_of(event) for event in stage.consumes}
    assert set(topics.groups()[stage.name]) - set(DEAD) == reads


def test_a_cluster_has_more_partitions_than_one_machine() -> None:
    alone = topics.partitions(Settings())["prompt-uploaded"]
    assert topics.partitions(Settings(log="kafka://nowhere:9092"))["prompt-uploaded"] > alone


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_a_role_may_write_dead_letters_of_what_it_reads(role: Role) -> None:
    for group_topics in role.groups.values():
        for topic in set(group_topics) & ALL:
            assert f"{topic}-dead" in role.dead


async def test_applying_twice_changes_nothing_embedded(tmp_path: Path) -> None:
    chosen = settings(data=tmp_path)
    async with opened(chosen) as log:
        await topics.apply(log, chosen)
        async with log.source("outbox-0") as source:
            await source.append([Message("prompt-uploaded", "a", b"{}")], 1)
        await topics.apply(log, chosen)
        async with log.source("outbox-0") as source:
            assert source.position == 1
        assert await log.lag("moderation", ["prompt-uploaded"]) == 1


async def test_applying_twice_changes_nothing_on_kafka(broker: KafkaServer) -> None:
    chosen = cluster_settings(broker)
    async with opened(chosen) as log:
        await topics.apply(log, chosen)
        async with log.source("outbox-0") as source:
            await source.append([Message("prompt-uploaded", "a", b"{}")], source.position + 1)
            reached = source.position
        before = await described(broker)
        await topics.apply(log, chosen)
        async with log.source("outbox-0") as source:
            assert source.position == reached
    assert await described(broker) == before
    assert before.keys() >= ALL | set(DEAD) | {POSITIONS}
    assert {before[topic] for topic in ALL} == {PARTITIONS}


async def test_applying_changes_for_how_long_a_topic_is_kept_and_nothing_else(
    broker: KafkaServer,
) -> None:
    chosen = cluster_settings(broker)
    async with opened(chosen) as log:
        await topics.apply(log, chosen)
    before = await configured(broker, "prompt-held")
    shorter = chosen.model_copy(update={"keep": "prompt-held=200"})
    try:
        async with opened(shorter) as log:
            await topics.apply(log, shorter)
        for topic in ("prompt-held", "prompt-held-dead"):
            after = await configured(broker, topic)
            assert after.pop("retention.ms") == str(200 * 24 * 3600 * 1000)
            assert after == {n: v for n, v in before.items() if n != "retention.ms"}
        assert (await configured(broker, "prompt-uploaded")) == before
    finally:
        async with opened(chosen) as log:
            await topics.apply(log, chosen)
    assert await configured(broker, "prompt-held") == before
    assert (await configured(broker, "person-erased"))["retention.ms"] == str(36_500 * 86_400_000)
    assert (await configured(broker, "audit-root-published"))["cleanup.policy"] == "compact"


async def configured(broker: KafkaServer, topic: str) -> dict[str, str]:
    """What is set for the topic itself."""
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
    await admin.start()
    try:
        wish = ConfigResource(ConfigResourceType.TOPIC, topic)
        (answer,) = await admin.describe_configs([wish])
        ((*_, entries),) = answer.resources
        return {entry[0]: entry[1] for entry in entries if entry[3] == 1}
    finally:
        await admin.close()


async def described(broker: KafkaServer) -> dict[str, int]:
    """Partitions of every topic."""
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
    await admin.start()
    try:
        return {t["topic"]: len(t["partitions"]) for t in await admin.describe_topics()}
    finally:
        await admin.close()


RESOURCES = {"--topic": 2, "--group": 3, "--transactional-id": 5}
OPERATIONS = {"Read": 3, "Write": 4, "Describe": 8}
LITERAL, PREFIXED, ALLOW = 3, 4, 3


async def grant(broker: KafkaServer, role: Role) -> None:
    """Do what Kafka's own tool, which a server does not bring, does with the printed commands."""
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
    await admin.start()
    try:
        for command in topics.acl(broker.bootstrap):
            for request in creations(command, f"User:voxrelay-{role.name}"):
                answer = await admin._send_to_controller(request)
                assert answer.creation_responses[0][0] == 0
    finally:
        await admin.close()


def creations(command: str, user: str) -> Iterator[CreateAclsRequest]:
    words = shlex.split(command)
    assert words[0] == "kafka-acls.sh"
    assert words[3] == "--add"
    options = list(zip(words[4::2], words[5::2], strict=True))
    if ("--allow-principal", user) not in options:
        return
    pattern = PREFIXED if ("--resource-pattern-type", "prefixed") in options else LITERAL
    for kind, name in options:
        for _, operation in [o for o in options if o[0] == "--operation" and kind in RESOURCES]:
            yield CreateAclsRequest(
                *(RESOURCES[kind], name, pattern, user, "*", OPERATIONS[operation], ALLOW)
            )


def as_role(broker: KafkaServer, name: str) -> Settings:
    return settings(
        log=f"kafka://{broker.secure_bootstrap}",
        kafka_security="SASL_SSL",
        kafka_username=f"voxrelay-{name}",
        kafka_password=f"{name}-secret",
        kafka_ca_file=broker.ca_file,
    )


async def test_the_acls_of_a_stage_are_enough_and_no_more(broker: KafkaServer) -> None:
    role = next(role for role in ROLES if role.name == "moderation")
    async with opened(cluster_settings(broker)) as log:
        await topics.apply(log, cluster_settings(broker))
    async with opened(as_role(broker, role.name)) as log:
        with pytest.raises(Misconfigured):
            await log.join("moderation", ["prompt-uploaded"], Waiting())
    await grant(broker, role)
    async with opened(as_role(broker, role.name)) as log:
        claim = await first_claim(log, "moderation", role.groups["moderation"])
        answers = [Message(topic, "a", b"{}") for topic in (*role.writes, *role.dead)]
        await claim.commit(Committed(claim.committed.offset, "noted"), answers)
        with pytest.raises(Misconfigured):
            await log.join("synth", ["prompt-approved"], Waiting())
        with pytest.raises(Misconfigured):
            async with log.source("outbox-0"):
                pytest.fail("a stage took the gateway's place")


async def test_the_acls_of_the_gateway_are_enough(broker: KafkaServer) -> None:
    role = next(role for role in ROLES if role.name == "ingest")
    async with opened(cluster_settings(broker)) as log:
        await topics.apply(log, cluster_settings(broker))
    await grant(broker, role)
    async with opened(as_role(broker, role.name)) as log:
        for name in role.sources:
            async with log.source(name) as source:
                messages = [Message(topic, "a", b"{}") for topic in role.writes]
                await source.append(messages, source.position + 1)
        claim = await first_claim(log, "view", role.groups["view"])
        await claim.commit(claim.committed, [])


async def first_claim(log: Log, group: str, wanted: Sequence[str]) -> Claim:
    """A claim, once all are there: a client that is closed while it opens leaves a line open."""
    member = Waiting()
    consumer = await log.join(group, wanted, member)
    async with asyncio.timeout(60):
        while len(member.claims) < PARTITIONS * len(wanted):
            await consumer.poll(0.1)
    return member.claims[0]


async def test_the_bucket_is_made_once(s3_server: S3Address) -> None:
    chosen = settings(
        objects=f"s3://{unique('bucket')}",
        s3_endpoint=f"http://{s3_server.endpoint}",
        s3_access_key=s3_server.access_key,
        s3_secret_key=s3_server.secret_key,
    )
    await buckets.apply(chosen)
    await buckets.apply(chosen)
    store = open_store(chosen)
    try:
        await store.check()
    finally:
        await store.close()


def test_a_folder_needs_no_bucket(tmp_path: Path) -> None:
    asyncio.run(buckets.apply(settings(data=tmp_path / "none")))
    assert not os.path.exists(tmp_path / "none")
