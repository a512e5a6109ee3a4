"""Wall clocks that jump, an hour or a day, forth and back, while processes die.

Knows how a process is given a clock of ours: a few lines of C that the loader puts before the
system's own. Refuses to know what the clock is used for.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import struct
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from infra.local import Cluster
from infra.servers import ToolMissing
from infra.servers.process import Server
from tests.faults.house import Executed, House, standing
from tests.faults.instants import STAGES
from tests.faults.world.scenario import Scenario, Scene, well_again
from voxrelay.up import environment

SOURCE = Path(__file__).with_name("wrong_clock.c")
MINUTE, HOUR, DAY = 60, 3600, 86_400
JUMPS = (-DAY, -HOUR, -5 * MINUTE, 5 * MINUTE, HOUR, DAY)
_CLOCKS = "WRONG_CLOCKS"


class Clocked(Executed):
    """A stage with a clock of its own, by the stage's name, or the machine's.

    Executed, since the loader puts a clock before the system's only where it loads.
    """

    def environment(self) -> Mapping[str, str]:
        given = dict(super().environment())
        folder = Path(given.pop(_CLOCKS))
        own = folder / self.name
        return {
            **given,
            "LD_PRELOAD": str(folder / "wrong_clock.so"),
            "WRONG_CLOCK": str(own if own.exists() else folder / "machine"),
        }


@dataclass(frozen=True)
class ClockedHouse(House):
    """A relay whose clocks can be put: all at once on one machine, else each by itself."""

    clocks: Mapping[str, Path]

    def put(self, name: str, ahead: int) -> None:
        """Put one clock `ahead` by so many seconds."""
        with self.clocks[name].open("r+b") as out:
            out.write(struct.pack("q", ahead))


@contextmanager
def embedded(folder: Path) -> Iterator[ClockedHouse]:
    """One machine has one clock."""
    clocks = _made(folder / "clocks", ["machine"])
    given = {**environment(folder / "data", 1), _CLOCKS: str(folder / "clocks")}
    with standing(folder, {}, given, Clocked) as stands:
        yield ClockedHouse(stands.stages, {}, stands.settings, stands.arms, clocks)


@contextmanager
def cluster(folder: Path) -> Iterator[ClockedHouse]:
    """Each stage is a machine with a clock of its own; the servers' are right."""
    clocks = _made(folder / "clocks", STAGES)
    made = Cluster(folder)
    servers: Mapping[str, Server] = {"kafka": made.kafka, "s3": made.s3, "postgres": made.postgres}
    given = {**made.environment(), _CLOCKS: str(folder / "clocks")}
    with standing(folder, servers, given, Clocked) as stands:
        yield ClockedHouse(stands.stages, servers, stands.settings, stands.arms, clocks)


async def jumping(scene: Scene[ClockedHouse]) -> None:
    """Jump, let one stage in three die by the wrong clock, and come back by the right one."""
    house, draw, jumps = scene.house, random.Random(scene.run.seed), 0
    await scene.jobs()
    until = asyncio.get_running_loop().time() + scene.seconds
    while asyncio.get_running_loop().time() < until:
        name = draw.choice(sorted(house.clocks))
        house.put(name, draw.choice(JUMPS))
        jumps += 1
        await asyncio.sleep(draw.uniform(2, 6))
        dying = house.stages[draw.choice(STAGES) if name == "machine" else name]
        if draw.random() < 0.4:
            dying.kill()
            scene.run.kills += 1
        house.put(name, 0)
        if not dying.running:
            dying.launch()
    scene.note("jumps", jumps)
    scene.note("kills", scene.run.kills)
    await well_again(scene)
    await scene.jobs()


def _made(folder: Path, names: tuple[str, ...] | list[str]) -> dict[str, Path]:
    compiler = shutil.which("cc")
    if compiler is None:
        raise ToolMissing("a wrong clock: there is no C compiler (cc)")
    folder.mkdir()
    library = folder / "wrong_clock.so"
    command = [compiler, "-shared", "-fPIC", "-O1", "-Wall", str(SOURCE), "-o", str(library)]
    subprocess.run([*command, "-ldl"], check=True)
    clocks = {name: folder / name for name in names}
    for clock in clocks.values():
        clock.write_bytes(struct.pack("q", 0))
    return clocks


SCENARIOS: Mapping[str, Scenario[ClockedHouse]] = {
    "clock-machine": Scenario(
        embedded,
        jumping,
        90,
        "the clock of the one machine jumps by minutes, hours and days",
        forgives="are out of order",  # read off the times of append, by that very clock
    ),
    "clock-each": Scenario(cluster, jumping, 90, "each stage's clock jumps by itself"),
}
