"""What a replay is composed of: the ear, the stage in its sandbox, and how findings are printed.

Knows which parts of moderation an auditor borrows. Refuses to know how a command is spelled.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from audit.journal import open_journal
from audit.rejudge import Tally
from audit.replay import Listen, Replay, Scope
from audit.sandbox import Comparison, compare
from infra.topics import groups
from moderation import audio
from moderation.hearing import Heard
from moderation.policy import load_policy
from relay.answer import code_version
from relay.process import Build
from relay.spine import Spine
from schemas.events import PromptUploaded


async def judge_again(
    spine: Spine, scope: Scope, file: Path | None, state: Path | None, *, rehear: bool
) -> Tally:
    policy = None if file is None else await asyncio.to_thread(load_policy, file)
    async with _listening(rehear, spine) as (listen, ear):
        question = {**scope.told, "policy": policy.digest if policy else None, "ear": ear}
        with open_journal(state, question) as journal:
            run_ = Replay(
                spine, scope, journal, policy=policy, measure=_measured, rehear=listen
            ).run
            return await run_(_progress())


async def run_again(spine: Spine, stage: str, scope: Scope) -> Comparison:
    """Run a stage as the settings have it over its inputs, in a folder that is gone afterwards."""
    with TemporaryDirectory(prefix="voxrelay-sandbox-") as folder:
        return await compare(spine, _build(stage), groups()[stage], scope, Path(folder))


def _build(stage: str) -> Build:
    """The stage's own opener. Imported when named: a voice brings its engine with it."""
    if stage == "moderation":
        from moderation.__main__ import open_stage as moderation
        from moderation.settings import ModerationSettings

        return moderation(ModerationSettings())
    if stage == "synth":
        from synth.__main__ import open_stage as synth
        from synth.settings import SynthSettings

        return synth(SynthSettings())
    from delivery.__main__ import open_stage as delivery
    from delivery.settings import DeliverySettings

    return delivery(DeliverySettings())


def compared(found: Comparison) -> Iterator[str]:
    """What a comparison found, for a person."""
    left = sum(found.left_out.values())
    yield f"run again  {found.inputs}, left out {left}"
    yield from (f"    left out: {why}  {count}" for why, count in found.left_out.most_common())
    yield f"the same  {found.same}, different {found.different}"
    for each in found.differences:
        yield f"    {each['job']}  {', '.join(each['differs'])}"


@asynccontextmanager
async def _listening(wanted: bool, spine: Spine) -> AsyncIterator[tuple[Listen | None, str | None]]:
    """Whisper as moderation has it, and its digest; nothing where nobody asked for it."""
    if not wanted:
        yield None, None
        return
    from moderation.settings import ModerationSettings
    from moderation.whisper import open_whisper

    given = ModerationSettings()
    ear = await asyncio.to_thread(
        open_whisper,
        given.model,
        spine.settings.models,
        device=given.device,
        threads=given.threads,
        batch=given.batch,
    )

    async def hear(event: PromptUploaded, data: bytes) -> Heard:
        samples = await asyncio.to_thread(audio.read, data)
        hearing = await ear.hear(samples, event.language)
        return Heard(sound=await asyncio.to_thread(audio.measure, samples), hearing=hearing)

    try:
        yield hear, ear.digest
    finally:
        await ear.close()


async def _measured(_: PromptUploaded, data: bytes) -> Heard:
    samples = await asyncio.to_thread(audio.read, data)
    return Heard(sound=await asyncio.to_thread(audio.measure, samples))


def _progress() -> Callable[[Tally], None]:
    """Tells a person at a terminal how far it is; others are left alone."""
    if not sys.stderr.isatty():
        return lambda _: None
    begun = time.monotonic()

    def tell(tally: Tally) -> None:
        rate = tally.judged / max(time.monotonic() - begun, 0.001)
        said = f"{tally.judged} judged, {tally.changed} changed, {rate:.0f} a second"
        print(f"\r{said:<60}", end="", file=sys.stderr, flush=True)

    return tell


def told(tally: Tally) -> dict[str, Any]:
    return {**tally.told, "code_today": code_version()}


def lines(tally: Tally) -> Iterator[str]:
    left = sum(tally.left_out.values())
    yield f"judged again  {tally.judged}, left out {left}, changed {tally.changed}"
    for why, count in tally.left_out.most_common():
        yield f"    left out: {why}  {count}"
    other = {version for version in tally.code if version != code_version()}
    if other:
        yield f"    today's code is {code_version()}; some was judged by {', '.join(sorted(other))}"
    for move, count in tally.moves.most_common():
        yield f"{move}  {count}"
        for each in tally.examples[move]:
            yield f"    {each['job']}  +{_rules(each['appears'])} -{_rules(each['vanishes'])}"
    for title, counts in (
        ("rule appears", tally.appears),
        ("rule vanishes", tally.vanishes),
        ("because of", tally.causes),
    ):
        yield from (f"{title}: {name}  {count}" for name, count in counts.most_common())


def _rules(fired: list[list[str]]) -> str:
    return "[" + ", ".join(f"{rule} ({where})" for rule, where in fired) + "]"
