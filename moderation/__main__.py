"""Runs moderation as a process of its own: settings in, runner out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from moderation.policy import Policy, load_policy, policy_key
from moderation.settings import ModerationSettings
from moderation.stage import Moderation
from moderation.whisper import Whisper, open_whisper
from relay.objects.port import ObjectStore
from relay.process import Build, run_stage
from relay.retry import until_available
from relay.runner import Limits
from relay.spine import Spine
from relay.stage import Stage

log = logging.getLogger(__name__)


def open_stage(settings: ModerationSettings) -> Build:
    """Opens the stage: policy read and kept, then the ear, which is waited for."""

    @asynccontextmanager
    async def opened(spine: Spine) -> AsyncIterator[Stage]:
        policy = load_policy(settings.policy)
        await until_available(lambda: keep(policy, spine.store), "objects", spine.health)
        ear = await until_available(
            lambda: _open_ear(settings, spine.settings.models), "ear", spine.health
        )
        log.info("policy %s (%s), hearing with %s", policy.name, policy.digest, ear.model)
        try:
            yield Moderation(ear, policy, spine.store)
        finally:
            await ear.close()

    return opened


def limits(settings: ModerationSettings) -> Limits:
    """How much the process takes on."""
    return Limits(in_flight=settings.in_flight)


async def keep(policy: Policy, store: ObjectStore) -> None:
    """Put the policy beside what is judged by it: verdicts name its digest only."""
    await store.put(policy_key(policy.digest), policy.document, "application/json")


async def _open_ear(settings: ModerationSettings, folder: Path | None) -> Whisper:
    return await asyncio.to_thread(
        open_whisper,
        settings.model,
        folder,
        device=settings.device,
        threads=settings.threads,
        batch=settings.batch,
    )


if __name__ == "__main__":
    _settings = ModerationSettings()
    run_stage(open_stage(_settings), limits(_settings))
