"""An edge and a real cluster on this machine, with a wire between them that can be cut."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from infra.local import Cluster
from infra.servers.kafka import KafkaServer
from infra.servers.process import HOST, Server, free_port
from infra.stages import ROOT, StageProcess
from relay.settings import Settings
from tests.bridge.sides import SITE
from tests.bridge.wire import Wire
from tests.journeys.conftest import settings_of
from voxrelay.up import environment, prepare


class WiredKafka(KafkaServer):
    """A broker that tells those who come by the wire to stay on it."""

    def __init__(self, folder: Path, wire: Wire) -> None:
        super().__init__(folder, {})
        self._own = free_port()
        self.wired = wire.to(self._own)

    def _properties(self) -> str:
        lines = dict(line.split("=", 1) for line in super()._properties().splitlines())
        lines["advertised.listeners"] += f",WIRE://{HOST}:{self.wired}"
        lines["listeners"] += f",WIRE://{HOST}:{self._own}"
        lines["listener.security.protocol.map"] += ",WIRE:PLAINTEXT"
        return "".join(f"{name}={value}\n" for name, value in lines.items())


class ClusterProcess(StageProcess):
    """All stages of the cluster."""

    def command(self) -> Sequence[str]:
        return [sys.executable, "-m", "tests.bridge.cluster_process"]


@dataclass(frozen=True)
class Shop:
    """Both ends. `ingest` and `bridge` are the edge's processes, `stages` is the cluster's."""

    wire: Wire
    servers: Mapping[str, Server]
    stages: StageProcess
    ingest: StageProcess
    bridge: StageProcess
    bridge_probes: str
    cluster: Settings
    edge: Settings


@contextmanager
def shop(folder: Path) -> Iterator[Shop]:
    """Nothing of it is started but the servers; the edge is admitted."""
    with ExitStack() as stack:
        wire = stack.enter_context(Wire())
        made = Cluster(folder)
        made.kafka = WiredKafka(folder / "kafka", wire)
        servers: dict[str, Server] = {"kafka": made.kafka, "s3": made.s3, "sql": made.postgres}
        for server in servers.values():
            server.launch()
            stack.callback(server.kill)
        for server in servers.values():
            server.wait_ready()
        there = made.environment()
        (folder / "master.key").write_text("07" * 32)
        (folder / "master.key").chmod(0o600)
        asyncio.run(prepare(settings_of(there)))
        probes = free_port()
        here = {
            **environment(folder / "edge", 1),
            **admit(there),
            "VOXRELAY_BRIDGE_LOG": f"kafka://{HOST}:{made.kafka.wired}",
            "VOXRELAY_BRIDGE_OBJECTS": there["VOXRELAY_OBJECTS"],
            "VOXRELAY_BRIDGE_S3_ENDPOINT": f"http://{HOST}:{wire.to(made.s3.port)}",
            "VOXRELAY_BRIDGE_S3_ACCESS_KEY": made.s3.access_key,
            "VOXRELAY_BRIDGE_S3_SECRET_KEY": made.s3.secret_key,
            "VOXRELAY_BRIDGE_PORT": str(probes),
        }
        asyncio.run(prepare(settings_of(here)))
        processes = [
            ClusterProcess("cluster", folder / "logs", {**there, "VOXRELAY_INGEST_PORT": "0"}),
            StageProcess("ingest", folder / "logs", here),
            StageProcess("bridge", folder / "logs", here),
        ]
        for process in processes:
            stack.callback(process.kill)
        yield Shop(
            wire,
            servers,
            *processes,
            bridge_probes=f"http://{HOST}:{probes}",
            cluster=settings_of(there),
            edge=settings_of(here),
        )


def admit(cluster: Mapping[str, str]) -> dict[str, str]:
    """What the cluster's operator is told when they admit the edge."""
    said = subprocess.run(
        [sys.executable, "-m", "voxrelay", "edge", "admit", SITE, "--json"],
        env={**os.environ, **cluster},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    settings: dict[str, str] = json.loads(said.stdout)["settings"]
    return settings
