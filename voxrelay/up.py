"""`voxrelay up`: the embedded relay on one machine, supervised, until it is told to stop.

Knows the defaults of one machine. Refuses to run stages itself: its children do.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import httpx

from infra import buckets
from infra.topics import apply, groups
from ingest.settings import loopback
from relay.errors import Misconfigured
from relay.settings import Settings
from relay.spine import open_log_alone
from voxrelay.stages import STAGES
from voxrelay.supervisor import Supervisor, stage_command

OPEN = {
    "VOXRELAY_INGEST_ANONYMOUS": "true",
    "VOXRELAY_INGEST_QUOTA_PER_MINUTE": "0",
    "VOXRELAY_INGEST_DAILY_SECONDS": "0",
    "VOXRELAY_INGEST_CONCURRENT": "0",
    "VOXRELAY_INGEST_LOCAL_OPERATOR": "true",
}
"""No accounts and no quotas: for callers who are on this machine."""


def environment(data: Path, port: int) -> Mapping[str, str]:
    """What children of `up` read, where the operator set nothing else: this machine alone.

    Whoever is on this machine needs no token and has no quota; an operator who lets others reach it
    gets accounts.
    """
    given = {k: v for k, v in os.environ.items() if k.startswith("VOXRELAY_")}
    host = given.get("VOXRELAY_INGEST_HOST", "127.0.0.1")
    return {
        "VOXRELAY_DATA": str(data.resolve()),
        "VOXRELAY_INGEST_HOST": host,
        "VOXRELAY_INGEST_PORT": str(port),
        **(OPEN if loopback(host) else {}),
        **given,
    }


async def up(data: Path, port: int, *, processes: bool, as_json: bool) -> int:
    """Run the relay until SIGTERM or SIGINT; the exit code says whether it could."""
    port = port or free_port()
    os.environ.update(environment(data, port))
    settings = Settings()
    await prepare(settings)
    names = known(settings.runs)
    groups = [[name] for name in names] if processes else [names]
    supervisor = Supervisor([stage_command(group) for group in groups])
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, supervisor.stop)
    running = asyncio.create_task(supervisor.run())
    ready = asyncio.create_task(answers(port))
    await asyncio.wait([running, ready], return_when=asyncio.FIRST_COMPLETED)
    if ready.done() and not running.done():
        say(data, port, as_json=as_json)
    ready.cancel()
    return await running


def known(names: Sequence[str]) -> list[str]:
    """`names` themselves; `Misconfigured` where there is no such stage, or no gateway."""
    unknown = [name for name in names if name not in STAGES]
    if unknown or "ingest" not in names:
        raise Misconfigured(
            f"VOXRELAY_STAGES={','.join(names)}: stages are {', '.join(STAGES)}, and `up` needs "
            "ingest among them"
        )
    return list(names)


async def prepare(settings: Settings, begin: Collection[str] = ()) -> None:
    """Create topics, first offsets and the bucket where they are missing.

    Groups of `begin` may begin at the first record; `Misconfigured` where there is no such group.
    """
    if begin and settings.embedded:
        raise Misconfigured("VOXRELAY_LOG: --begin is for Kafka; the embedded log drops no offset")
    if unknown := sorted(set(begin) - groups().keys()):
        raise Misconfigured(f"{', '.join(unknown)}: groups are {', '.join(groups())}")
    settings.data.mkdir(parents=True, exist_ok=True)
    await buckets.apply(settings)
    async with open_log_alone(settings, begin) as log:
        await apply(log, settings)


async def answers(port: int) -> None:
    """Return once the gateway says that it is ready."""
    async with httpx.AsyncClient() as client:
        while True:
            try:
                answer = await client.get(f"http://127.0.0.1:{port}/readyz", timeout=2)
                if answer.status_code == 200:
                    return
            except httpx.HTTPError:
                pass  # it is still starting
            await asyncio.sleep(0.2)


def say(data: Path, port: int, *, as_json: bool) -> None:
    """Tell where the relay is and what to do with it."""
    url = f"http://127.0.0.1:{port}"
    example = Path(__file__).parents[1] / "examples" / "mandarin.flac"
    if as_json:
        print(json.dumps({"url": url, "data": str(data.resolve())}), flush=True)
        return
    print(
        f"VoxRelay is up.\n"
        f"  page   {url}/\n"
        f"  try    curl -s -F text='你好, 很高兴认识你。' -F recording=@{example} {url}/v1/jobs\n"
        f"  docs   {url}/docs\n"
        f"  data   {data.resolve()}\n"
        f"  stop   Ctrl-C",
        flush=True,
    )


def free_port() -> int:
    """A port nobody listens on right now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port
