"""The log's contract over every implementation."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from relay.log.port import Claim
from tests.relay.log_contract import LogContract
from tests.servers import KafkaAddress


class TestSqliteLog(LogContract):
    """The embedded log, in a file of the test's own."""

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
