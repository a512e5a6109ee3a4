"""A relay to be hurt: stage processes with stand-in models, on the log under test."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from infra.local import Cluster
from infra.servers.process import Server
from infra.stages import StageProcess
from relay.settings import Settings
from tests.faults.plan import STAGES
from tests.journeys.conftest import settings_of
from voxrelay.up import environment, prepare


class StandIn(StageProcess):
    """A stage with stand-in models."""

    def command(self) -> Sequence[str]:
        return [sys.executable, "-m", "tests.faults.stage", self.name]


@dataclass(frozen=True)
class House:
    """Stages and servers by name, and the settings they share."""

    stages: Mapping[str, StageProcess]
    servers: Mapping[str, Server]
    settings: Settings

    @property
    def all(self) -> Mapping[str, Server]:
        """Everything that can be hurt."""
        return {**self.stages, **self.servers}

    @property
    def url(self) -> str:
        """Where the doors are."""
        return self.stages["ingest"].url


@contextmanager
def house(log: str, folder: Path) -> Iterator[House]:
    """The relay on `sqlite` (files of one machine) or `kafka` (with MinIO and PostgreSQL)."""
    if log == "sqlite":
        servers: Mapping[str, Server] = {}
        given: Mapping[str, str] = environment(folder / "data", 1)
    else:
        made = Cluster(folder)
        servers = {"kafka": made.kafka, "s3": made.s3, "postgres": made.postgres}
        given = made.environment()
    with standing(folder, servers, given) as stands:
        yield stands


@contextmanager
def standing(
    folder: Path,
    servers: Mapping[str, Server],
    given: Mapping[str, str],
    make: type[StandIn] = StandIn,
) -> Iterator[House]:
    """The relay with the settings `given`, which may lean on `servers`; all are started here."""
    if key := given.get("VOXRELAY_MASTER_KEY_FILE"):
        Path(key).write_text("07" * 32)
        Path(key).chmod(0o600)
    with ExitStack() as stack:
        for server in servers.values():
            server.launch()
            stack.callback(server.kill)
        for server in servers.values():
            server.wait_ready()
        settings = settings_of(given)
        asyncio.run(prepare(settings))
        stages = {name: make(name, folder / "logs", given) for name in STAGES}
        for stage in stages.values():
            stage.launch()
            stack.callback(stage.kill)
        for stage in stages.values():
            stage.wait_ready()
        yield House(stages, servers, settings)
