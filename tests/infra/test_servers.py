"""The real servers start, can be hurt, come back with their data, and leave nothing behind."""

import os
import signal
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from infra.servers import ServerFailed, kafka, minio, postgres
from infra.servers.process import descendants
from tests.infra.processes import alive, eventually, none_alive
from tests.servers import (
    KafkaAddress,
    PostgresAddress,
    S3Address,
    SecureKafkaAddress,
    fresh_database,
    unique,
)

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that another user may enter too."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_postgres_survives_a_kill(postgres_server: PostgresAddress, folder: Path) -> None:
    with postgres(folder) as server:
        with psycopg.connect(server.url) as line:
            line.execute("create table kept as select 42 as it")
        family = [server.pid, *descendants(server.pid)]
        server.kill()
        assert none_alive(family)
        assert not server.answers()
        server.start()
        with psycopg.connect(server.url) as line:
            assert line.execute("select it from kept").fetchone() == (42,)


def test_a_frozen_server_hangs_and_thaws(postgres_server: PostgresAddress, folder: Path) -> None:
    with postgres(folder) as server:
        server.stop()
        assert not server.answers()
        server.cont()
        server.wait_ready()


def test_a_closed_server_is_gone(s3_server: S3Address, folder: Path) -> None:
    with minio(folder) as server:
        pid = server.pid
        assert alive(pid)
    assert not alive(pid)
    with pytest.raises(ServerFailed):
        _ = server.pid


def test_a_server_dies_with_its_parent(postgres_server: PostgresAddress, folder: Path) -> None:
    starter = (
        "import sys, time; from pathlib import Path; from infra.servers import postgres\n"
        "server = postgres(Path(sys.argv[1])); server.start()\n"
        "print(server.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", starter, str(folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert alive(pid)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    eventually(lambda: not alive(pid))


def test_a_server_does_not_hide_behind_another(s3_server: S3Address, folder: Path) -> None:
    with minio(folder / "first") as first:
        second = minio(folder / "second", port=first.port)
        with pytest.raises(ServerFailed, match=r"port [0-9]+ is taken"):
            second.start()
        assert not second.running


def test_a_server_that_cannot_start_says_what_it_said(s3_server: S3Address, folder: Path) -> None:
    broken = minio(folder)
    broken.secret_key = "short"
    with pytest.raises(ServerFailed, match=r"ended at start(.|\n)*credentials"):
        broken.start()
    assert not broken.running


async def test_kafka_survives_a_kill(kafka_server: KafkaAddress, folder: Path) -> None:
    with kafka(folder) as server:
        await make_topic(server.bootstrap, "kept")
        await send(server.bootstrap, "kept", b"it")
        server.kill()
        assert not server.answers()
        server.start()
        assert await receive(server.bootstrap, "kept") == b"it"


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-512", "PLAIN"])
async def test_kafka_lets_users_in_over_tls(
    secure_kafka_server: SecureKafkaAddress, mechanism: str
) -> None:
    server = secure_kafka_server
    admin = AIOKafkaAdminClient(
        bootstrap_servers=server.bootstrap,
        security_protocol="SASL_SSL",
        sasl_mechanism=mechanism,
        sasl_plain_username=server.username,
        sasl_plain_password=server.password,
        ssl_context=ssl.create_default_context(cafile=str(server.ca_file)),
    )
    await admin.start()
    try:
        assert (await admin.describe_cluster())["brokers"]
    finally:
        await admin.close()


async def test_topics_are_not_made_by_asking(kafka_server: KafkaAddress) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_server.bootstrap)
    await admin.start()
    try:
        name = unique("nobody-made")
        await admin.describe_topics([name])
        assert name not in await admin.list_topics()
    finally:
        await admin.close()


def test_every_test_has_its_own_database(postgres_server: PostgresAddress) -> None:
    with fresh_database(postgres_server) as one, fresh_database(postgres_server) as other:
        assert one != other
        with psycopg.connect(one) as line:
            assert line.execute("select current_database()").fetchone()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(one)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to run PostgreSQL as somebody else")
def test_root_may_keep_postgres_data_in_a_private_folder(
    postgres_server: PostgresAddress, folder: Path
) -> None:
    folder.chmod(0o700)
    server = postgres(folder / "inside")
    try:
        with server:
            assert server.answers()
    finally:
        server.remove()
    assert server.folder != folder / "inside"
    assert not server.folder.exists()


async def make_topic(bootstrap: str, name: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, 1, 1)])
    finally:
        await admin.close()


async def send(bootstrap: str, topic: str, value: bytes) -> None:
    async with AIOKafkaProducer(bootstrap_servers=bootstrap) as producer:
        await producer.send_and_wait(topic, value)


async def receive(bootstrap: str, topic: str) -> bytes:
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    async with consumer:
        return bytes((await consumer.getone()).value)
