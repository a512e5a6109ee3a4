"""Three servers and four stage processes on this machine, as one thing that starts and ends.

Knows processes, addresses and settings. Refuses to know who asked for it, and what travels
through it.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from infra import buckets, topics
from infra.servers import kafka, minio, postgres
from infra.servers.process import Server
from infra.stages import STAGES, stage_processes
from relay.settings import Settings
from relay.spine import open_log_alone

BUCKET = "voxrelay"
# The default of a real cluster is 24; each partition has a writer of its own, and here all of
# them share a few cores.
PARTITIONS = 4


class Cluster:
    """Servers and stages in `folder`; `with Cluster(folder) as cluster: cluster.gateway`.

    `names` are the stages to run, all by default; `port` is the gateway's.
    """

    def __init__(
        self, folder: Path, port: int | None = None, names: Sequence[str] = STAGES
    ) -> None:
        self.folder = folder.resolve()
        self.kafka = kafka(self.folder / "kafka")
        self.s3 = minio(self.folder / "minio")
        self.postgres = postgres(self.folder / "postgres", durable=True)
        stages = stage_processes(self.folder / "logs", self.environment(), port)
        self.stages = {name: stages[name] for name in names}
        self._open = ExitStack()

    @property
    def gateway(self) -> str:
        """The address of the doors; empty where no gateway runs."""
        return self.stages["ingest"].url if "ingest" in self.stages else ""

    def environment(self) -> dict[str, str]:
        """The settings every stage gets."""
        return {
            "VOXRELAY_DATA": str(self.folder / "relay"),
            "VOXRELAY_LOG": f"kafka://{self.kafka.bootstrap}",
            "VOXRELAY_PARTITIONS": str(PARTITIONS),
            "VOXRELAY_SQL": self.postgres.url,
            "VOXRELAY_OBJECTS": f"s3://{BUCKET}",
            "VOXRELAY_S3_ENDPOINT": self.s3.url,
            "VOXRELAY_S3_ACCESS_KEY": self.s3.access_key,
            "VOXRELAY_S3_SECRET_KEY": self.s3.secret_key,
            "VOXRELAY_MASTER_KEY_FILE": str(self.folder / "master.key"),
            # Whoever runs this on their own machine speaks for the voices they send.
            "VOXRELAY_INGEST_ANONYMOUS": "true",
            "VOXRELAY_INGEST_QUOTA_PER_MINUTE": "0",
            "VOXRELAY_INGEST_DAILY_SECONDS": "0",
            "VOXRELAY_INGEST_CONCURRENT": "0",
        }

    def __enter__(self) -> Cluster:
        try:
            self._start()
        except BaseException:
            self._open.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def mend(self) -> bool:
        """Start again whatever has ended; whether there was anything."""
        servers: list[Server] = [self.kafka, self.s3, self.postgres, *self.stages.values()]
        ended = [server for server in servers if not server.running]
        for server in ended:
            print(f"{server.name} ended; starting it again\n{server.log_tail(5)}", flush=True)
            server.launch()
        return bool(ended)

    def _start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        _make_master_key(self.folder / "master.key")
        self._launch(self.postgres, self.s3, self.kafka)
        with _variables(self.environment()):
            asyncio.run(_set_up())
        self._launch(*self.stages.values())
        self._open.callback(self._ask_stages_to_end)

    def _ask_stages_to_end(self) -> None:
        for stage in self.stages.values():
            stage.ask_to_end()

    def _launch(self, *servers: Server) -> None:
        """Start all, then wait for all; a stage takes a while to load its model."""
        for server in servers:
            server.launch()
            self._open.callback(server.close)
        for server in servers:
            server.wait_ready()
            print(f"{server.name} is ready", flush=True)


async def _set_up() -> None:
    settings = Settings()
    async with open_log_alone(settings) as log:
        await topics.apply(log, settings)
    await buckets.apply(settings)


def _make_master_key(file: Path) -> None:
    """32 random bytes in hex, readable by us alone; kept if there."""
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(secrets.token_hex(32) + "\n")


@contextmanager
def _variables(values: Mapping[str, str]) -> Iterator[None]:
    """Our own environment as a stage's, while settings are read from it."""
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
