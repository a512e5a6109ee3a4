"""Fixtures for the real servers, one of each for the whole run, and a corner of each per test.

Addresses of running servers are taken from the environment:

    VOXRELAY_TEST_KAFKA     host:port
    VOXRELAY_TEST_S3        http://ACCESS:SECRET@host:port
    VOXRELAY_TEST_POSTGRES  postgresql://user:password@host:port/postgres

else they are started. A server the machine cannot have skips its tests with a line that says why;
where CI is set that is a failure. The shared servers may be hurt by nobody: a test that kills or
freezes one starts its own (`with kafka(tmp_path) as server`).
"""

import os
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from infra.servers import KafkaServer, MinioServer, ToolMissing, kafka, minio, postgres
from infra.servers.cache import is_cached
from infra.servers.kafka import CACHED as KAFKA
from infra.servers.minio import CACHED as MINIO
from infra.servers.process import Server


@dataclass(frozen=True)
class KafkaAddress:
    """A broker in plain text: `host:port`."""

    bootstrap: str


@dataclass(frozen=True)
class SecureKafkaAddress:
    """A broker over SASL_SSL; the mechanisms are SCRAM-SHA-256, SCRAM-SHA-512 and PLAIN."""

    bootstrap: str
    username: str
    password: str
    ca_file: Path


@dataclass(frozen=True)
class S3Address:
    """An object store: `endpoint` is `host:port`; `ca_file` only where `tls`."""

    endpoint: str
    access_key: str
    secret_key: str
    tls: bool = False
    ca_file: Path | None = None


@dataclass(frozen=True)
class PostgresAddress:
    """A database server: `url` as psycopg takes it, database `postgres`, may create others."""

    url: str


def unavailable(why: str) -> NoReturn:
    """Skip on a laptop, fail in CI."""
    if os.environ.get("CI"):
        pytest.fail(why, pytrace=False)
    pytest.skip(why)


@contextmanager
def _own(make: Callable[[Path], Server], cached: str | None = None) -> Iterator[Server]:
    """A server for the whole run in a folder of its own; its data is thrown away."""
    if cached and not is_cached(cached):
        unavailable(f"{cached} is not built yet: run `make servers` once")
    # Not pytest's folder: only its owner may enter that, and PostgreSQL may be somebody else.
    with tempfile.TemporaryDirectory(prefix="voxrelay-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        try:
            server = make(Path(folder))
        except ToolMissing as lacking:
            unavailable(str(lacking))
        try:
            server.start()
            yield server
        finally:
            server.kill()


@pytest.fixture(scope="session")
def _own_kafka() -> Iterator[KafkaServer]:
    with _own(kafka, KAFKA) as server:
        assert isinstance(server, KafkaServer)
        yield server


@pytest.fixture(scope="session")
def kafka_server(request: pytest.FixtureRequest) -> KafkaAddress:
    """Apache Kafka in plain text; topics are the test's own (`unique("topic")`)."""
    given = os.environ.get("VOXRELAY_TEST_KAFKA")
    return KafkaAddress(given or request.getfixturevalue("_own_kafka").bootstrap)


@pytest.fixture(scope="session")
def secure_kafka_server(_own_kafka: KafkaServer) -> SecureKafkaAddress:
    """Apache Kafka over SASL_SSL, as the super user."""
    return SecureKafkaAddress(
        _own_kafka.secure_bootstrap, _own_kafka.username, _own_kafka.password, _own_kafka.ca_file
    )


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Address]:
    """MinIO over plain HTTP; buckets are the test's own (`unique("bucket")`)."""
    given = os.environ.get("VOXRELAY_TEST_S3")
    if given:
        yield _s3_from(given)
        return
    with _own(minio, MINIO) as server:
        yield _s3_of(server)


@pytest.fixture(scope="session")
def secure_s3_server() -> Iterator[S3Address]:
    """MinIO over TLS, also as `<bucket>.s3.localhost`."""
    with _own(lambda folder: minio(folder, tls=True), MINIO) as server:
        yield _s3_of(server)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresAddress]:
    """PostgreSQL; a test takes its own database with `fresh_database`."""
    given = os.environ.get("VOXRELAY_TEST_POSTGRES")
    if given:
        yield PostgresAddress(given)
        return
    with _own(postgres) as server:
        yield PostgresAddress(server.url)  # type: ignore[attr-defined]


def unique(prefix: str) -> str:
    """A name nobody else has; good as a topic, a group, a bucket or a database."""
    return f"{prefix}-{uuid.uuid4().hex[:12]}"


@contextmanager
def fresh_database(server: PostgresAddress) -> Iterator[str]:
    """An empty database, dropped afterwards: `postgresql://...`, as VOXRELAY_SQL takes it."""
    name = unique("test")
    with psycopg.connect(server.url, autocommit=True) as line:
        line.execute(f'create database "{name}"')
    try:
        parts = urlsplit(server.url)
        yield urlunsplit(parts._replace(path=f"/{name}"))
    finally:
        with psycopg.connect(server.url, autocommit=True) as line:
            line.execute(f'drop database "{name}" with (force)')


@pytest.fixture
def database(postgres_server: PostgresAddress) -> Iterator[str]:
    """An empty PostgreSQL database of the test's own, as VOXRELAY_SQL takes it."""
    with fresh_database(postgres_server) as url:
        yield url


def _s3_from(url: str) -> S3Address:
    parts = urlsplit(url)
    address = parts.netloc.rpartition("@")[2]
    return S3Address(
        address, parts.username or "", parts.password or "", tls=parts.scheme == "https"
    )


def _s3_of(server: Server) -> S3Address:
    assert isinstance(server, MinioServer)
    keys = server.access_key, server.secret_key
    return S3Address(server.endpoint, *keys, tls=server.tls, ca_file=server.ca_file)
