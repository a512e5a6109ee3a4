"""The command: `python -m tests.faults --kills N --seed S --log kafka|sqlite [--json]`."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from infra.servers.process import Server, is_free
from relay.settings import Settings
from tests.faults.checks import check
from tests.faults.driver import drive
from tests.faults.house import SESSION, House, house
from tests.faults.plan import Fault, every_instant, plan


@dataclass(frozen=True)
class Fired:
    """What came of a run, and what is left of the house while its folder is."""

    said: Mapping[str, Any]
    """As `--json` prints it; what is wrong stands under `wrong`, in words."""
    settings: Settings
    accepted: set[str]


@contextmanager
def fired(
    log: str,
    faults: Callable[[House], Iterable[Fault]],
    seed: int,
    *,
    session: float = SESSION,
    says: TextIO | None = None,
) -> Iterator[Fired]:
    """One run, whole: a house, what befalls it (told to `says`), and whether anybody could see."""
    begun = time.monotonic()

    def tell(what: str) -> None:
        if says:
            print(f"{time.monotonic() - begun:7.1f} s  {what}", file=says, flush=True)

    with tempfile.TemporaryDirectory(prefix="voxrelay-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)  # PostgreSQL may be another user
        with house(log, Path(folder), session=session) as hurt:
            run = asyncio.run(drive(hurt, faults(hurt), seed, tell))
            tell("all is quiet: looking at what is left")
            accepted = set(run.accepted.values())
            found = asyncio.run(check(hurt.settings, accepted, hurt.doors))
            said = {} if found.clean and not run.unfinished else _last_words(hurt.stages)
        deaf = [f"{s.name} left its port taken" for s in hurt.all.values() if not is_free(s.port)]
        told = {
            "kills": run.kills,
            "jobs": len(accepted),
            "lost": len(found.lost - run.unfinished),
            "duplicated": len(found.duplicated),
            "unfinished": len(run.unfinished),
            "seconds": round(time.monotonic() - begun, 1),
            "missed": run.missed,
            "broker_restarts": run.broker_restarts,
            "wrong": [*run.trouble, *found.wrong, *deaf],
            **({"said": said} if said else {}),
        }
        yield Fired(told, hurt.settings, accepted)


def _last_words(stages: Mapping[str, Server]) -> dict[str, str]:
    return {name: stage.log_tail(40) for name, stage in stages.items()}


def drawn(seed: int, kills: int) -> Callable[[House], Iterable[Fault]]:
    """The plan of `seed` for whatever house it is."""
    return lambda hurt: plan(seed, kills, list(hurt.stages), list(hurt.servers), hurt.session)


def instants(hurt: House) -> Iterable[Fault]:
    """The plan of every instant for whatever house it is."""
    return every_instant(list(hurt.stages), hurt.session)


def main() -> int:
    """Run and print; 0 only if nothing was lost, doubled, left unfinished or otherwise wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--instants", action="store_true", help="each chosen instant, once")
    parser.add_argument("--log", choices=["sqlite", "kafka"], default="sqlite")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    asked = parser.parse_args()
    faults = instants if asked.instants else drawn(asked.seed, asked.kills)
    says = sys.stderr if asked.json else sys.stdout
    with fired(asked.log, faults, asked.seed, says=says) as run:
        said = run.said
    print(json.dumps(said, ensure_ascii=False, indent=None if asked.json else 2))
    return int(any(said[what] for what in ("lost", "duplicated", "unfinished", "wrong")))


if __name__ == "__main__":
    sys.exit(main())
