"""A relay that has lived, once for all that read it: on files, and on the real servers."""

from __future__ import annotations

import asyncio

import pytest

from relay.settings import Settings
from tests.audit.relay import Lived, live
from tests.servers import KafkaAddress


@pytest.fixture(scope="session")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Lived:
    """On the embedded log. Nobody may append to it."""
    return asyncio.run(live(Settings(data=tmp_path_factory.mktemp("lived"))))


@pytest.fixture(scope="session")
def lived_on_kafka(kafka_server: KafkaAddress, tmp_path_factory: pytest.TempPathFactory) -> Lived:
    """On Kafka, with everything else in files."""
    data = tmp_path_factory.mktemp("lived-kafka")
    key = data / "master.key"
    key.touch(mode=0o600)
    key.write_text("17" * 32)
    log = f"kafka://{kafka_server.bootstrap}"
    return asyncio.run(live(Settings(data=data, log=log, partitions=2, master_key_file=key)))
