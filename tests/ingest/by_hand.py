"""What the other stages would say of a job, written through the view's own functions."""

from __future__ import annotations

import asyncio
import base64
from hashlib import sha256
from typing import Any
from uuid import UUID

from sqlalchemy import select

from ingest.view import View
from relay.codec import decode, head_of
from relay.log.port import Record
from relay.sql.schema import outbox
from relay.stage import Context
from schemas.envelope import Head
from schemas.events import (
    Audio,
    Event,
    JobFailed,
    Label,
    PromptApproved,
    PromptHeld,
    PromptRejected,
    PromptUploaded,
    Reason,
    SpeechDelivered,
    SpeechSynthesized,
    Spoken,
    Verdict,
)
from schemas.topics import topic_of
from tests.ingest.conftest import House

SOUND = bytes(range(256)) * 40
"""Stands for an MP3 of two seconds."""

_SPOKEN = Spoken(engine="demo", voice="zf_001", version="1", digest="d", device="cpu", cloned=False)


def verdict(*reasons: Reason) -> Verdict:
    return Verdict(
        policy="test 1",
        policy_digest="d",
        code_version="1",
        hearing_model="none",
        hearing_digest="d",
        reasons=reasons,
    )


class Chain:
    """One job's way, driven by hand."""

    def __init__(self, house: House, head: Head, prompt: PromptUploaded) -> None:
        self._house, self.head, self.prompt = house, head, prompt
        self._view = View(house.database, house.doorbell)

    @classmethod
    async def of(cls, house: House, job: str) -> Chain:
        """The chain of a job that was accepted: reads what the outbox holds for it."""
        found = await in_outbox(house, job)
        (record,) = [each for each in found if each.topic == topic_of(PromptUploaded)]
        head = head_of(record)
        prompt = decode(record, head, await house.keys.key(head.person))
        assert isinstance(prompt, PromptUploaded)
        return cls(house, head, prompt)

    async def tell(self, event: Event) -> None:
        """Let the view see `event`."""
        head = self.head
        if not isinstance(event, PromptUploaded):
            head = head.child(topic_of(event), 0, event.TYPE)
        await self._view.handle(event, Context(head, b"", self._house.database.now()))

    async def uploaded(self) -> None:
        await self.tell(self.prompt)

    async def approved(self) -> None:
        await self.tell(PromptApproved(**self._judged()))

    async def held(self) -> None:
        await self.tell(PromptHeld(**self._judged(Reason(**REASON))))

    async def rejected(self) -> None:
        await self.tell(
            PromptRejected(
                text=self.prompt.text,
                recording=self.prompt.recording,
                verdict=verdict(Reason(**REASON)),
            )
        )

    async def failed(self) -> None:
        await self.tell(JobFailed(stage="synth", code="text_unreadable", message="Unreadable."))

    async def synthesized(self) -> None:
        key = f"speech/{self.head.person}/{self.head.key}"
        speech = Audio(key=key, sha256="1", bytes=9, seconds=2.0, sample_rate=24_000)
        event = SpeechSynthesized(
            speech=speech, spoken=_SPOKEN, seed=0, cached=False, format=self.prompt.format
        )
        await self.tell(event)

    async def delivered(self, sound: bytes = SOUND) -> None:
        key = f"delivered/{self.head.person}/{self.head.key}"
        await self._house.objects.put(key, sound, "audio/mpeg")
        audio = Audio(
            key=key,
            sha256=sha256(sound).hexdigest(),
            bytes=len(sound),
            seconds=2.0,
            sample_rate=24_000,
        )
        label = Label(aigc="{}", producer="test", produce_id=self.head.key)
        await self.tell(
            SpeechDelivered(audio=audio, format=self.prompt.format, spoken=_SPOKEN, label=label)
        )

    def _judged(self, *reasons: Reason) -> dict[str, Any]:
        # By attribute: a dump would hold nothing that a model could not take again.
        fields = {name: getattr(self.prompt, name) for name in type(self.prompt).model_fields}
        for name in ("door", "address"):
            fields.pop(name)
        return {
            **fields,
            "transcript": "你好",
            "heard_language": "zh",
            "verdict": verdict(*reasons),
        }


REASON = {"code": "word_forbidden", "rule": "r1", "where": "text", "message": "含有违禁词。"}


async def in_outbox(house: House, job: str | UUID | None = None) -> list[Record]:
    """What accepting has put aside for the log, for `job` or for all."""
    async with house.database.reading() as tx:
        rows = (await tx.execute(select(outbox).order_by(outbox.c.id))).all()
    return [
        Record(
            topic=row.topic,
            partition=0,
            offset=row.id,
            key=row.key,
            value=row.value,
            headers=tuple((name, base64.b64decode(value)) for name, value in row.headers),
            appended=house.database.now(),
        )
        for row in rows
        if job is None or row.key == str(job)
    ]


async def next_job(house: House, before: set[str]) -> str:
    """The id of the first job that is accepted beside those `before`."""
    async with asyncio.timeout(20):
        while True:
            if new := await jobs_of(house) - before:
                return new.pop()
            await asyncio.sleep(0.01)  # a request of a client that waits: nothing of ours to await


async def jobs_of(house: House) -> set[str]:
    """Ids of all jobs that were accepted."""
    prompts = topic_of(PromptUploaded)
    return {record.key for record in await in_outbox(house) if record.topic == prompts}
