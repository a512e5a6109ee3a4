"""`make chaos`: fifty jobs, while a random process is killed every second, live on screen.

Knows how that is shown, and says in the end what came of it. Refuses any mercy: processes die by
SIGKILL until the last job has ended, and then everything is read and compared.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from uuid import uuid4

import httpx
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from infra.servers import ServerFailed, ToolMissing
from infra.servers.process import Server
from tests.faults.blows import launch
from tests.faults.checks import check
from tests.faults.driver import mend, send
from tests.faults.house import House, house
from tests.faults.instants import STAGES
from tests.faults.jobs import sound
from tests.journeys.steps import ENDED

EVERY = 1.0
SESSION = 2.0
"""Seconds after which a dead process is known to be: the relay's ten would make a dull show."""
PATIENCE = 600.0
PEAL = 5.0
"""Jobs that are sent in a second."""
_GLYPHS = {
    "sent": (".", "grey50"),
    "accepted": ("a", "grey70"),
    "uploaded": ("u", "blue"),
    "approved": ("m", "cyan"),
    "synthesized": ("s", "yellow"),
    "delivered": ("D", "green"),
}
"""How far a job has come, as a letter and its colour; any other state is a question mark."""


@dataclass
class Scene:
    """What there is to see."""

    title: str
    jobs: int
    states: dict[str, str] = field(default_factory=dict)
    """State by job id."""
    kills: Counter[str] = field(default_factory=Counter)
    last: str = ""
    begun: float = field(default_factory=time.monotonic)

    @property
    def delivered(self) -> int:
        return sum(state == "delivered" for state in self.states.values())

    @property
    def ended(self) -> int:
        return sum(state in ENDED for state in self.states.values())

    @property
    def over(self) -> bool:
        return self.ended >= self.jobs - 1 or time.monotonic() - self.begun > PATIENCE

    def line(self) -> str:
        """All in one line, for a log."""
        now = f"{time.monotonic() - self.begun:6.1f} s  killed {self.last:<14}"
        counts = f"{self.kills.total():4} kills  {len(self.states):4} accepted"
        return f"{now}{counts}  {self.delivered:4} delivered"

    def picture(self) -> Group:
        """Every job as a letter, every process with its deaths."""
        row = Text("  ")
        for state in [*self.states.values(), *["sent"] * (self.jobs - len(self.states))]:
            row.append(*_GLYPHS.get(state, ("?", "red")))
        legend = Text("  ")
        for state, (glyph, colour) in _GLYPHS.items():
            legend.append(f"{glyph} ", colour).append(f"{state}  ", "dim")
        deaths = Text("\n")
        for name in sorted(self.kills, key=lambda n: STAGES.index(n.partition("-")[0])):
            dead = "bold red" if name == self.last else ""
            deaths.append(f"  {name:<14}{self.kills[name]:3} kills\n", dead)
        return Group(Text(self.title, "bold"), row, legend, deaths, Text(self.line(), "dim"))


@contextmanager
def shown(scene: Scene) -> Iterator[None]:
    """A picture that is drawn again and again on a terminal; elsewhere each kill prints a line."""
    console = Console()
    if not console.is_terminal:
        print(scene.title, flush=True)
        yield
        return
    with Live(console=console, get_renderable=scene.picture, refresh_per_second=8):
        yield


async def play(home: House, scene: Scene, seed: int) -> None:
    """Send the jobs and kill until they have ended; the last one finds the house whole again."""
    async with httpx.AsyncClient(timeout=5) as client:
        killing = asyncio.create_task(_kill(home, scene, seed))
        with suppress(TimeoutError):  # what never came is seen in the end
            async with asyncio.timeout(PATIENCE):
                await asyncio.gather(_send(client, home, scene), _watch(client, home, scene))
        await killing
        await mend(home)
        await _one(client, home, scene, scene.jobs - 1)
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await _watch(client, home, scene, scene.jobs)


async def _send(client: httpx.AsyncClient, home: House, scene: Scene) -> None:
    async with asyncio.TaskGroup() as sending:
        for n in range(scene.jobs - 1):
            sending.create_task(_one(client, home, scene, n))
            await asyncio.sleep(1 / PEAL)


async def _one(client: httpx.AsyncClient, home: House, scene: Scene, n: int) -> None:
    job = await send(client, home, f"第{n}句话。", sound(n), str(uuid4()))
    scene.states[job] = "accepted"


async def _kill(home: House, scene: Scene, seed: int) -> None:
    draw = random.Random(seed)
    while True:
        await asyncio.sleep(EVERY)
        if scene.over:
            return
        for victim in draw.sample(list(home.stages.values()), len(home.stages)):
            if await asyncio.to_thread(victim.answers):  # who is not back yet cannot die again
                _one_kill(home, scene, victim)
                break


def _one_kill(home: House, scene: Scene, victim: Server) -> None:
    victim.kill()
    scene.last = victim.name
    scene.kills[victim.name] += 1
    for stage in home.stages.values():
        launch(stage)
    if not sys.stdout.isatty():
        print(scene.line(), flush=True)


async def _watch(
    client: httpx.AsyncClient, home: House, scene: Scene, jobs: int | None = None
) -> None:
    """Ask how far each job is, at one door after another, until `jobs` have ended."""
    for door in cycle(home.doors):
        if scene.ended >= (jobs or scene.jobs - 1):
            return
        for job in [job for job, state in scene.states.items() if state not in ENDED]:
            with suppress(httpx.HTTPError, KeyError):  # nobody there, or not ready: asked again
                scene.states[job] = (await client.get(f"{door}/v1/jobs/{job}")).json()["state"]
        await asyncio.sleep(0.2)


def chaos(log: str, jobs: int, seed: int) -> int:
    """The whole of it; 0 only if every job was delivered, and once."""
    title = f"{jobs} jobs, a random process killed every second, on {log}"
    print("Starting two processes of every stage ...", flush=True)
    with tempfile.TemporaryDirectory(prefix="voxrelay-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)  # PostgreSQL may be another user
        with house(log, Path(folder), session=SESSION) as home:
            scene = Scene(title, jobs)
            with shown(scene):
                asyncio.run(play(home, scene, seed))
            found = asyncio.run(check(home.settings, set(scene.states), home.doors))
    for wrong in found.wrong:
        print(f"wrong: {wrong}")
    print(
        f"{scene.kills.total()} kills, {scene.delivered} delivered, "
        f"{jobs - len(scene.states) + len(found.lost)} lost, {len(found.duplicated)} twice"
    )
    return int(scene.delivered != jobs or not found.clean)


def main() -> int:
    """Read the command line, play, and say what came of it."""
    parser = argparse.ArgumentParser(prog="make chaos ARGS=...", description=__doc__)
    parser.add_argument("--log", choices=["sqlite", "kafka"], default="sqlite")
    parser.add_argument("--jobs", type=int, default=50)
    parser.add_argument("--seed", type=int, default=random.randrange(10_000))
    asked = parser.parse_args()
    try:
        return chaos(asked.log, asked.jobs, asked.seed)
    except (ToolMissing, ServerFailed) as lacking:
        print(lacking, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
