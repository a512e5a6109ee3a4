"""A stage run again beside the log says the same to the byte, or it is said what differs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from audit.replay import Scope
from audit.sandbox import Comparison, compare
from delivery.stage import Delivery
from infra.topics import groups
from moderation.policy import load_policy
from moderation.stage import Moderation
from relay.process import Build
from relay.spine import Spine, open_spine
from relay.stage import Stage
from schemas.topics import DEAD, TOPICS
from synth.stage import Synth
from synth.voice import Speech, SpeechRequest
from tests.audit.relay import Lived, Tone
from tests.faults.stage import StandInEar


class Hoarse(Tone):
    """The same voice after a change that its digest does not tell."""

    async def speak(self, request: SpeechRequest) -> Speech:
        speech = await super().speak(request)
        return replace(speech, samples=speech.samples * 0.5)


def opener(name: str, voice: Tone) -> Build:
    @asynccontextmanager
    async def opened(spine: Spine) -> AsyncIterator[Stage]:
        if name == "moderation":
            yield Moderation(StandInEar(), load_policy(), spine.store)
        elif name == "synth":
            yield Synth(voice, spine.store)
        else:
            yield Delivery(spine.store, producer="VoxRelay", kbps=64)

    return opened


async def again(house: Lived, name: str, folder: Path, voice: Tone) -> Comparison:
    async with open_spine(house.settings) as spine:
        return await compare(spine, opener(name, voice), groups()[name], Scope(), folder)


@pytest.mark.parametrize(
    ("name", "same", "left_out"),
    [
        ("moderation", 11, {"erased": 1}),
        ("synth", 4, {"erased": 1, "never answered": 1}),
        ("delivery", 3, {"erased": 1}),
    ],
)
async def test_the_same_stage_says_the_same_to_the_byte(
    lived: Lived, tmp_path: Path, name: str, same: int, left_out: dict[str, int]
) -> None:
    found = await again(lived, name, tmp_path, Tone())
    assert found.differences == []
    assert (found.same, found.different, dict(found.left_out)) == (same, 0, left_out)
    assert found.inputs == same


async def test_a_voice_that_sounds_otherwise_is_found_by_what_differs(
    lived: Lived, tmp_path: Path
) -> None:
    before = await everything(lived)
    found = await again(lived, "synth", tmp_path, Hoarse())
    assert {each["job"] for each in found.differences} == {
        lived.jobs[fate] for fate in ("delivered", "again", "approved")
    }
    assert all(each["differs"] == ["speech"] for each in found.differences)
    assert found.same == 1, "what cannot be spoken is refused as it was"
    assert await everything(lived) == before


async def everything(house: Lived) -> tuple[int, Sequence[str]]:
    async with open_spine(house.settings) as spine:
        topics = [*(topic.name for topic in TOPICS), *DEAD]
        count = len([record async for record in spine.log.read(topics)])
        return count, [stat.key async for stat in spine.store.list("")]
