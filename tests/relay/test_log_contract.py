"""The log's contract over every implementation."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from relay.log.kafka import Timing
from relay.log.kafka.link import Link
from relay.log.port import Claim
from relay.settings import Settings
from tests.relay.log_contract import LogContract
from tests.servers import KafkaAddress, SecureKafkaAddress


class TestSqliteLog(LogContract):
    """The embedded log, in a file of the test's own."""

    trims = True

    @pytest.fixture
    def spec(self, tmp_path: Path) -> str:
        return f"sqlite:{tmp_path / 'log.db'}"

    async def fence(self, spec: str, group: str, claim: Claim) -> None:
        with closing(sqlite3.connect(spec.removeprefix("sqlite:"))) as line, line:
            line.execute(
                'update claims set epoch = epoch + 1 where "group" = ? and partition in'
                " (select p.id from partitions p join topics t on t.id = p.topic"
                " where t.name = ? and p.number = ?)",
                [group, claim.topic, claim.partition],
            )


class TestKafkaLog(LogContract):
    """The log of a cluster, on the shared broker."""

    @pytest.fixture
    def spec(self, kafka_server: KafkaAddress) -> str:
        return f"kafka:{kafka_server.bootstrap}"

    async def fence(self, spec: str, group: str, claim: Claim) -> None:
        producer = AIOKafkaProducer(
            bootstrap_servers=spec.removeprefix("kafka:"),
            transactional_id=f"{group}.{claim.topic}.{claim.partition}",
        )
        await producer.start()
        await producer.stop()


class TestSecureKafkaLog(TestKafkaLog):
    """The same over SASL and TLS; processes that are killed learn nothing new from it."""

    test_processes_killed_at_random_answer_each_record_once_and_in_order = None  # type: ignore[assignment]
    test_a_process_that_was_stopped_is_fenced_when_it_comes_back = None  # type: ignore[assignment]

    @pytest.fixture
    def spec(self, secure_kafka_server: SecureKafkaAddress) -> str:
        settings = {
            "log": f"kafka://{secure_kafka_server.bootstrap}",
            "kafka_security": "SASL_SSL",
            "kafka_username": secure_kafka_server.username,
            "kafka_password": secure_kafka_server.password,
            "kafka_ca_file": str(secure_kafka_server.ca_file),
        }
        return f"settings:{json.dumps(settings)}"

    async def fence(self, spec: str, group: str, claim: Claim) -> None:
        link = Link.of(Settings.model_validate_json(spec.removeprefix("settings:")), Timing())
        producer = link.producer(f"{group}.{claim.topic}.{claim.partition}")
        await link.start(producer)
        await link.stop(producer)
