"""A relay to be hurt: stage processes with stand-in models, on the log under test.

Knows how many processes each stage has, and what they share. Refuses to know what befalls them.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from infra.local import Cluster
from infra.servers.process import Server
from infra.stages import StageProcess
from relay.settings import Settings
from tests.faults.forked import Forked
from tests.faults.instants import STAGES
from tests.faults.mortal import Arms
from tests.faults.stage import be
from tests.journeys.steps import settings_of
from voxrelay.up import environment, prepare

SESSION = 6.0
"""Seconds after which a member that was not heard of is taken for dead: the relay's own."""

_PATIENT = {"VOXRELAY_INGEST_PROBE_PROCESSES": "1", "VOXRELAY_INGEST_PROBE_SECONDS": "60"}
"""Gateways start often, and a machine on which everything starts again is slow."""


class StandIn(StageProcess):
    """A process of a stage with stand-in models; mortal, where `arms` say so."""

    def __init__(
        self, name: str, folder: Path, given: Mapping[str, str], arms: Path, session: float
    ) -> None:
        super().__init__(name, folder, {**given, **_PATIENT})
        self._words = (name, arms, session)

    def _spawn(self) -> Forked:
        return Forked(be, self.environment(), self.log_file, *self._words)


class Executed(StandIn):
    """The same, executed and not forked: its imports take their time, its environment holds first.

    No arms reach it.
    """

    _spawn = StageProcess._spawn

    def command(self) -> Sequence[str]:
        return [sys.executable, "-m", "tests.faults.stage", self.stage]


@dataclass(frozen=True)
class House:
    """Stages and servers by name, the settings they share, and where instants are armed."""

    stages: Mapping[str, StandIn]
    servers: Mapping[str, Server]
    settings: Settings
    arms: Arms
    session: float = field(default=SESSION, kw_only=True)

    @cached_property
    def all(self) -> Mapping[str, Server]:
        """Everything that can be hurt."""
        return {**self.stages, **self.servers}

    @property
    def doors(self) -> Sequence[str]:
        """The gateways' addresses."""
        return [each.url for each in self.stages.values() if each.stage == "ingest"]

    def others(self, stage: str) -> Sequence[StandIn]:
        """The processes of `stage` but its first."""
        return [each for each in self.stages.values() if each.stage == stage][1:]


def members(count: int) -> list[str]:
    """The names of the processes of all stages, `count` of each."""
    numbered = [f"-{n}" if n > 1 else "" for n in range(1, count + 1)]
    return [f"{stage}{number}" for number in numbered for stage in STAGES]


@contextmanager
def house(
    log: str,
    folder: Path,
    make: type[StandIn] = StandIn,
    *,
    count: int = 2,
    session: float = SESSION,
) -> Iterator[House]:
    """The relay on `sqlite` (files of one machine) or `kafka` (with MinIO and PostgreSQL).

    `count` processes of each stage; `session` is how long their log waits for one that is dead.
    """
    if log == "sqlite":
        servers: Mapping[str, Server] = {}
        given: Mapping[str, str] = environment(folder / "data", 1)
    else:
        made = Cluster(folder)
        servers = {"kafka": made.kafka, "s3": made.s3, "postgres": made.postgres}
        given = made.environment()
    names = members(count)
    with standing(folder, servers, given, make, names=names, session=session) as stands:
        yield stands


@contextmanager
def standing(
    folder: Path,
    servers: Mapping[str, Server],
    given: Mapping[str, str],
    make: type[StandIn] = StandIn,
    *,
    names: Sequence[str] = STAGES,
    session: float = SESSION,
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
        arms = folder / "armed"
        stages = {name: make(name, folder / "logs", given, arms, session) for name in names}
        for stage in stages.values():
            stage.launch()
            stack.callback(stage.kill)
        for stage in stages.values():
            stage.wait_ready()
        yield House(stages, servers, settings, Arms(arms), session=session)
