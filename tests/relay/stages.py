"""Stand-in stages and keys for tests of the spine: deterministic, and told how to misbehave."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from uuid import UUID, uuid4, uuid5

from relay.codec import encode
from relay.errors import PersonErased
from relay.keys import KEY_BYTES, PersonKey
from relay.log.port import Message
from relay.stage import Context
from schemas.envelope import Head
from schemas.events import (
    Event,
    JobFailed,
    PromptApproved,
    PromptUploaded,
    Recording,
    Verdict,
)

KEY = PersonKey(bytes(range(KEY_BYTES)))
SPACE = UUID("11111111-2222-3333-4444-555555555555")


class Keys:
    """Everybody's key is `KEY`; the erased have none."""

    def __init__(self, *erased: UUID) -> None:
        self.erased = set(erased)

    async def key(self, person: UUID) -> PersonKey:
        if person in self.erased:
            raise PersonErased("erased")
        return KEY


def uploaded(n: int, *, person: UUID | None = None, text: str | None = None) -> Message:
    """The `n`-th job's first event; equal `n`, equal bytes."""
    person = person or uuid5(SPACE, f"person/{n % 3}")
    event = PromptUploaded(
        text=text or f"text {n}",
        recording=Recording(
            key=f"recording/{person}/{n}",
            sha256="00",
            seconds=3,
            sample_rate=16000,
            container="wav",
            codec="pcm_s16le",
        ),
        door="jobs",
    )
    head = Head(
        id=uuid5(SPACE, f"event/{n}"),
        type=event.TYPE,
        source="voxrelay://test",
        time=datetime(2026, 1, 1, tzinfo=UTC),
        person=person,
        key=str(uuid5(SPACE, f"job/{n}")),
    )
    return encode(event, head, KEY)


def approved(event: PromptUploaded) -> PromptApproved:
    """What moderation would answer."""
    verdict = Verdict(
        policy="p", policy_digest="d", code_version="0", hearing_model="m", hearing_digest="d"
    )
    return PromptApproved(
        text=event.text,
        recording=event.recording,
        transcript="heard",
        heard_language="en",
        verdict=verdict,
    )


async def nothing(event: PromptUploaded) -> None:
    """No misbehaviour."""


class Approving:
    """Approves every prompt after `act` has had its way."""

    name = "approving"
    consumes: tuple[type[Event], ...] = (PromptUploaded,)
    opens = True

    def __init__(
        self,
        act: Callable[[PromptUploaded], Awaitable[None]] = nothing,
        *,
        ends_jobs: bool = True,
    ) -> None:
        self.act = act
        self.ends_jobs = ends_jobs
        self.handled: list[str] = []

    async def handle(self, event: Event, context: Context) -> Sequence[Event]:
        assert isinstance(event, PromptUploaded)
        self.handled.append(event.text)
        await self.act(event)
        return (approved(event),)

    async def check(self) -> None:
        """Always able."""


class Collector:
    """Remembers what it is shown and sets an event at a count."""

    name = "collector"
    consumes: tuple[type[Event], ...] = (PromptApproved, JobFailed)
    opens = False
    ends_jobs = False

    def __init__(self) -> None:
        self.seen: list[tuple[str, Event]] = []
        self._changed = asyncio.Condition()

    async def handle(self, event: Event, context: Context) -> Sequence[Event]:
        async with self._changed:
            self.seen.append((context.head.key, event))
            self._changed.notify_all()
        return ()

    async def check(self) -> None:
        """Always able."""

    async def wait(self, count: int, seconds: float = 20) -> None:
        """Return once `count` events were seen."""
        async with asyncio.timeout(seconds), self._changed:
            await self._changed.wait_for(lambda: len(self.seen) >= count)


__all__ = ["KEY", "Approving", "Collector", "Keys", "approved", "uploaded", "uuid4"]
