"""The command `voxrelay`: verbs, their options, and nothing else.

Knows how a verb is spelled. Refuses to do the work: each verb calls the module that does.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from audit.archive import ArchiveDamaged
from relay.errors import Misconfigured, Unavailable
from relay.process import (
    EXIT_MISCONFIGURED,
    EXIT_UNAVAILABLE,
    calm_clients,
    run_main,
    settings_error,
)
from relay.settings import Settings
from voxrelay.access import app as access
from voxrelay.analytics import app as analytics
from voxrelay.analytics import sql
from voxrelay.audit import app as audit
from voxrelay.edge import app as edge
from voxrelay.keys import app as keys
from voxrelay.model import app as model

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="A relay from a text and a short recording of a voice to speech in that voice.",
)
topics = typer.Typer(no_args_is_help=True, help="The log's topics.")
app.add_typer(topics, name="topics")
app.add_typer(access, name="access")
app.add_typer(analytics, name="analytics")
app.command()(sql)
app.add_typer(audit, name="audit")
app.add_typer(edge, name="edge")
app.add_typer(keys, name="keys")
app.add_typer(model, name="model")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Data = Annotated[Path, typer.Option(help="Folder of everything the relay keeps.")]


@app.command()
def demo(
    recording: Annotated[Path | None, typer.Option(help="A recording of 1 to 30 s.")] = None,
    text: Annotated[str | None, typer.Option(help="What is to be said.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the result.")] = Path("out"),
    as_json: Json = False,
) -> None:
    """Run one real job through every stage on this machine."""
    from voxrelay.demo import demo as run

    sys.exit(asyncio.run(run(recording, text, out, as_json=as_json)))


@app.command()
def up(
    port: Annotated[int, typer.Option(help="Port of the gateway; 0 takes a free one.")] = 8080,
    data: Data = Path("data"),
    processes: Annotated[bool, typer.Option(help="One process per stage.")] = False,
    as_json: Json = False,
) -> None:
    """Run the embedded relay on this machine."""
    from voxrelay.up import up as run

    sys.exit(asyncio.run(run(data, port, processes=processes, as_json=as_json)))


@app.command()
def run(
    stages: Annotated[
        list[str],
        typer.Argument(
            help="ingest, moderation, synth, delivery, notify, audit, analytics, bridge"
        ),
    ],
    leashed: Annotated[bool, typer.Option(help="Stop when standard input closes.")] = False,
) -> None:
    """Run stages as this process, configured by the environment."""
    from voxrelay.stages import STAGES
    from voxrelay.stages import run as run_stages
    from voxrelay.supervisor import hold_leash

    unknown = [name for name in stages if name not in STAGES]
    if unknown:
        raise typer.BadParameter(f"{', '.join(unknown)}: stages are {', '.join(STAGES)}")

    async def work() -> None:
        if leashed:
            hold_leash()
        await run_stages(stages, Settings())

    run_main(work)


@app.command()
def doctor(
    url: Annotated[
        str | None, typer.Option(help="Only this public address, as this machine sees it.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Look at everything the relay leans on, and say what to do about each trouble."""
    from voxrelay.doctor.command import doctor as run

    sys.exit(asyncio.run(run(Settings(), url, as_json=as_json)))


@topics.command("apply")
def topics_apply(
    begin: Annotated[
        list[str] | None,
        typer.Option(help="A group that begins at the first record where Kafka tells nothing."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Create topics, first offsets and positions where they are missing.

    A group that begins anew does all its work again: where it was before is forgotten, this once.
    """
    from infra.topics import partitions
    from voxrelay.up import prepare

    settings = Settings()
    asyncio.run(prepare(settings, begin or ()))
    table = partitions(settings)
    print(json.dumps(table) if as_json else f"{len(table)} topics are as they should be.")


@topics.command("restore")
def topics_restore(
    forget: Annotated[
        bool, typer.Option("--forget", help="Forget what cannot be of this cluster's topics.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Put back the offsets that Kafka has dropped, where the database knows them to have been.

    Stop all stages first. An offset that Kafka still tells stays as it is.
    """
    from voxrelay.restore import restore

    found = asyncio.run(restore(Settings(), forget=forget))
    if as_json:
        print(json.dumps({"put_back": found.put_back, "strange": found.strange, "forgot": forget}))
        return
    for group, topic, partition, offset in found.put_back:
        print(f"{group} goes on from {offset} in {topic}/{partition}")
    for group, topic, partition, offset in found.strange:
        print(f"{group} had come to {offset} in {topic}/{partition}, which does not reach so far")
    print(f"{len(found.put_back)} offsets were put back.")
    if found.strange and forget:
        print(f"{len(found.strange)} were forgotten. `voxrelay topics apply` goes on.")
    elif found.strange:
        print(
            f"{len(found.strange)} are of another cluster, or of topics that were made anew since, "
            "so nothing was done: look whether VOXRELAY_LOG and VOXRELAY_SQL belong together. If "
            "they do, `voxrelay topics restore --forget` lets these begin anew."
        )


@topics.command("acl")
def topics_acl(
    bootstrap: Annotated[str, typer.Option(help="host:port of a broker.")] = "localhost:9092",
    as_json: Json = False,
) -> None:
    """Print the commands that give each stage what it needs at the broker, and nothing else."""
    from infra.topics import acl

    commands = acl(bootstrap, outbox=Settings().outbox)
    print(json.dumps(commands) if as_json else "\n".join(commands))


@topics.command("schema")
def topics_schema(
    event: Annotated[str | None, typer.Argument(help="A type, or all of them.")] = None,
    as_json: Json = True,
) -> None:
    """Print the JSON Schema of the events as they lie in the log."""
    from schemas.export import json_schemas

    found = json_schemas()
    if event is not None and event not in found:
        raise typer.BadParameter(f"{event}: types are {', '.join(found)}")
    print(json.dumps(found[event] if event else found, ensure_ascii=False, indent=2))


def main() -> None:
    """Run the command; settings that cannot be right end it with their names."""
    calm_clients()
    try:
        app()
    except Unavailable as down:
        print(f"voxrelay: {down}", file=sys.stderr)
        sys.exit(EXIT_UNAVAILABLE)
    except ArchiveDamaged as damaged:
        print(f"voxrelay: {ArchiveDamaged.CODE}: {damaged}", file=sys.stderr)
        sys.exit(EXIT_MISCONFIGURED)
    except (Misconfigured, ValidationError) as wrong:
        print(f"voxrelay cannot start: {settings_error(wrong)}", file=sys.stderr)
        sys.exit(EXIT_MISCONFIGURED)
