"""A disk that is full: under the embedded relay, and under MinIO.

Knows how a small disk is made (root mounts one in memory) and filled to the last byte. Refuses to
know what lies on it.
"""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from infra.local import Cluster
from infra.servers import ToolMissing
from infra.servers.process import Server
from tests.faults.house import House, standing
from tests.faults.world.scenario import (
    READY_WITHIN,
    Scenario,
    Scene,
    noticed,
    readiness,
    well_again,
)
from tests.journeys.steps import recording
from tests.sql import until
from voxrelay.up import environment

MEGABYTES = 64
_PIECE = b"\0" * 4096


@dataclass(frozen=True)
class CrampedHouse(House):
    """A relay whose data, or whose store's, lies on a disk of its own."""

    disk: Path

    @property
    def ballast(self) -> Path:
        """The file that fills the disk."""
        return self.disk / "ballast"

    def fill(self) -> None:
        """Leave not a byte."""
        with self.ballast.open("ab", buffering=0) as out:
            try:
                while out.write(_PIECE):
                    pass
            except OSError:
                return

    def spare(self, pieces: int) -> None:
        """Leave room for a little: enough to begin to write something, and seldom to end it."""
        size = self.ballast.stat().st_size
        os.truncate(self.ballast, max(0, size - pieces * len(_PIECE)))


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of its own at `folder`, in memory. `ToolMissing` where we may not mount one."""
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m,mode=0755", "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise ToolMissing(f"a small disk: only root may mount one ({done.stderr.strip()})")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def embedded(folder: Path) -> Iterator[CrampedHouse]:
    """The relay in files, all of them on a small disk."""
    with (
        small_disk(folder / "data") as disk,
        standing(folder, {}, environment(disk, 1)) as stands,
    ):
        yield CrampedHouse(stands.stages, {}, stands.settings, stands.arms, disk)


@contextmanager
def cluster(folder: Path) -> Iterator[CrampedHouse]:
    """The relay on real servers, of which MinIO has a small disk."""
    made = Cluster(folder)
    servers: Mapping[str, Server] = {"kafka": made.kafka, "s3": made.s3, "postgres": made.postgres}
    with (
        small_disk(made.s3.folder / "data") as disk,
        standing(folder, servers, made.environment()) as stands,
    ):
        yield CrampedHouse(stands.stages, servers, stands.settings, stands.arms, disk)


async def full(scene: Scene[CrampedHouse]) -> None:
    """Full to the last byte, then with a few to spare now and then, then roomy again."""
    house, draw = scene.house, random.Random(scene.run.seed)
    await scene.jobs()
    house.fill()
    await _refused(scene)
    if house.settings.embedded:
        await noticed(scene, ["ingest"])
        said = await readiness(house.stages["ingest"])
        if said is None or said["accepting"]:
            scene.run.trouble.append(f"a gateway on a full disk says that it accepts: {said}")
    until = asyncio.get_running_loop().time() + scene.seconds
    while asyncio.get_running_loop().time() < until:
        house.spare(draw.randint(1, 12))
        await asyncio.sleep(draw.uniform(0.2, 1.5))
        house.fill()
    house.ballast.unlink()
    await well_again(scene)
    await scene.jobs()
    if house.settings.embedded:
        await _whole(scene)


async def _refused(scene: Scene[CrampedHouse]) -> None:
    """A job that comes to a full disk is refused, with a problem that says what to do."""
    async with httpx.AsyncClient(base_url=scene.house.doors[0], timeout=60) as client:
        asked = {"data": {"text": "没有地方了。"}, "files": {"recording": recording()}}
        answer = await client.post("/v1/jobs", **asked)  # type: ignore[arg-type]
    if answer.status_code != 503 or answer.json()["code"] != "unavailable":
        scene.run.trouble.append(f"a full disk was answered with {answer.text}")


async def _whole(scene: Scene[CrampedHouse]) -> None:
    """Nothing half-made is left, and both files are as SQLite wants them."""
    making = scene.house.disk / "objects" / ".making"
    left = set(making.iterdir())  # some are being made right now
    try:
        await until(lambda: not left & set(making.iterdir()), READY_WITHIN)
    except TimeoutError:
        scene.run.trouble.append(f"{len(left & set(making.iterdir()))} half-made objects were left")
    for name in ("log.db", "app.db"):
        with sqlite3.connect(scene.house.disk / name) as line:
            (said,) = line.execute("pragma integrity_check").fetchone()
        line.close()
        if said != "ok":
            scene.run.trouble.append(f"{name}: {said}")


SCENARIOS: Mapping[str, Scenario[CrampedHouse]] = {
    "disk-full": Scenario(embedded, full, 60, "the embedded relay's disk is full"),
    "s3-full": Scenario(cluster, full, 60, "MinIO's disk is full"),
}
