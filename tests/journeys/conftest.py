"""The two set-ups, each started once: every stage a process, the models the real ones."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from infra.local import Cluster
from infra.servers import ToolMissing
from infra.servers.process import Server
from infra.stages import StageProcess, stage_processes
from relay.settings import Settings
from tests.journeys.steps import settings_of
from tests.servers import unavailable
from voxrelay.up import environment, prepare


@dataclass(frozen=True)
class House:
    """A running relay: its stages, the servers under it, and the settings they share."""

    stages: Mapping[str, StageProcess]
    servers: Mapping[str, Server]
    settings: Settings
    environment: Mapping[str, str]

    @property
    def url(self) -> str:
        """Where the doors are."""
        return self.stages["ingest"].url

    @property
    def embedded(self) -> bool:
        """Whether everything lies in files of this machine."""
        return not self.servers


@pytest.fixture(scope="package", params=["embedded", "cluster"])
def house(request: pytest.FixtureRequest) -> Iterator[House]:
    """The relay on each of the set-ups."""
    opened = embedded if request.param == "embedded" else cluster
    with tempfile.TemporaryDirectory(prefix="voxrelay-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)  # PostgreSQL may be another user
        with opened(Path(folder)) as found:
            yield found


@pytest.fixture
def client(house: House) -> Iterator[httpx.Client]:
    """A client of the gateway, which is made whole first where a test before left it hurt."""
    for server in (*house.servers.values(), *house.stages.values()):
        if not server.running:
            server.start()
    with httpx.Client(base_url=house.url, timeout=90) as opened:
        yield opened


@contextmanager
def embedded(folder: Path) -> Iterator[House]:
    """Files of one machine, and a process for each stage."""
    given = environment(folder / "data", 1)
    settings = settings_of(given)
    with ExitStack() as stack:
        asyncio.run(prepare(settings))
        stages = stage_processes(folder, given)
        for stage in stages.values():
            stage.launch()
            stack.callback(stage.close)
        for stage in stages.values():
            stage.wait_ready()
        yield House(stages, {}, settings, given)


@contextmanager
def cluster(folder: Path) -> Iterator[House]:
    """Kafka, MinIO and PostgreSQL of its own: journeys end them and start them again."""
    try:
        made = Cluster(folder)
        with made:
            servers = {"kafka": made.kafka, "s3": made.s3, "postgres": made.postgres}
            given = made.environment()
            yield House(made.stages, servers, settings_of(given), given)
    except ToolMissing as lacking:
        unavailable(str(lacking))
