"""`voxrelay edge`: letting an edge carry its jobs to this cluster.

Knows what an edge has to be given. Refuses to send it there: a person does.
"""

from __future__ import annotations

import asyncio
import json
from datetime import datetime, timedelta
from typing import Annotated, Any

import typer

from infra.topics import Role, acl_of, edge
from relay.settings import Settings
from relay.spine import Spine, open_spine
from schemas.envelope import format_time
from schemas.topics import EMBEDDED_PARTITIONS

app = typer.Typer(no_args_is_help=True, help="Edges of this cluster: shops, schools, kiosks.")

_SLACK = timedelta(hours=1)
"""How far apart the clocks of a cluster's machines may be."""


@app.callback()
def _edges() -> None:
    """More verbs may come."""


@app.command()
def admit(
    site: Annotated[str, typer.Argument(help="Its VOXRELAY_SITE: voxrelay://shop-1")],
    partitions: Annotated[int, typer.Option(help="Its VOXRELAY_PARTITIONS.")] = EMBEDDED_PARTITIONS,
    bootstrap: Annotated[str, typer.Option(help="host:port of a broker.")] = "localhost:9092",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Make the positions of an edge, and print what it needs to know. Again changes nothing."""
    role = edge(site, partitions)
    settings = asyncio.run(_admitted(site, role))
    commands = acl_of([role], bootstrap)
    if as_json:
        print(json.dumps({"settings": settings, "acl": commands}))
        return
    print("# at the edge, for every process\n" + "\n".join(f"{k}={v}" for k, v in settings.items()))
    print("# at the brokers\n" + "\n".join(commands))


async def _admitted(site: str, role: Role) -> dict[str, Any]:
    async with open_spine(Settings()) as spine:
        await spine.log.apply({}, {}, role.sources)
        recipient = (await spine.keys.receiver()).recipient
        told = {
            "VOXRELAY_STAGES": "ingest,bridge",
            "VOXRELAY_SITE": site,
            "VOXRELAY_BRIDGE_CLUSTER_KEY": str(recipient),
        }
        if (since := await _since(spine, role)) is not None:
            told["VOXRELAY_BRIDGE_SINCE"] = format_time(since)
        return told


async def _since(spine: Spine, role: Role) -> datetime | None:
    """An instant before anything of the edge's was here; None where something may have been."""
    now = spine.database.now()
    for name in role.sources:
        async with spine.log.source(name) as source:
            if source.position:
                return None
    return now - _SLACK
